"""The text of `celery report`. Spec: app-and-cli#13.12."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["bugreport"]

_TEXT = """
software -> celery:{celery} kombu:{kombu} py:{python}
            celeriac:{celeriac} {driver}:{driver_version}
platform -> system:{system} arch:{arch}
            kernel version:{kernel} imp:{implementation}
loader   -> {loader}
settings -> transport:{transport} results:{results}

{settings}
"""
_DRIVERS = {"amqp": "amqp", "pyamqp": "amqp", "amqps": "amqp", "redis": "redis", "rediss": "redis"}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "N/A"


def bugreport(app: Celery) -> str:
    """Return versions, platform, loader, transport and changed settings, secrets masked."""
    from celeriac.app.settings_censor import censor
    from celeriac.shim import VERSION_BANNER
    from celeriac_protocol import __version__

    transport = app.broker_url_for(app.conf.broker_url).partition("://")[0]
    driver = _DRIVERS.get(transport, transport)
    results = censor({"backend": app.conf.result_backend or "disabled"})["backend"]
    loader = type(app.loader)
    return _TEXT.format(
        celery=VERSION_BANNER,
        kombu=_version("kombu"),
        python=platform.python_version(),
        celeriac=__version__,
        driver=driver,
        driver_version=_version(driver),
        system=platform.system(),
        arch=", ".join(part for part in platform.architecture() if part),
        kernel=platform.release(),
        implementation=platform.python_implementation(),
        loader=f"{loader.__module__}.{loader.__qualname__}",
        transport=transport,
        results=results,
        settings=app.conf.humanize(),
    )
