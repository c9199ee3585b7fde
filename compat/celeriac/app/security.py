"""Signed messages: the set-up behind `Celery.setup_security`. Spec: app-and-cli#3.2, task-message#6."""

from __future__ import annotations

import glob
from pathlib import Path

from celeriac.app.settings import Settings
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["setup_security"]

_NOT_ENABLED = """\
Sorry, but you have to configure the
    * security_key
    * security_certificate, and the
    * security_cert_store
configuration settings to use the auth serializer.

Please see the configuration reference for more information.
"""
_WRONG_SERIALIZER = (
    "The task_serializer, event_serializer, result_serializer and accept_content settings must name "
    "'auth' for messages to be signed: {0} does not."
)


def setup_security(
    conf: Settings,
    *,
    key: str | None,
    key_password: bytes | None,
    cert: str | None,
    store: str | None,
    digest: str | None,
    serializer: str,
) -> None:
    """Register the ``auth`` serializer with these keys, and accept nothing else.

    Raises:
        ImproperlyConfigured: Key, certificate or store is missing, or `task_serializer` is not ``auth``.
    """
    from celeriac_protocol.serializers import register
    from celeriac_protocol.serializers.auth import SecureSerializer

    if conf.task_serializer != "auth":
        raise ImproperlyConfigured(_WRONG_SERIALIZER.format("task_serializer"))
    key = key or conf.security_key
    cert = cert or conf.security_certificate
    store = store or conf.security_cert_store
    if not (key and cert and store):
        raise ImproperlyConfigured(_NOT_ENABLED)
    pattern = store if glob.has_magic(store) else f"{store}/*"
    register(
        SecureSerializer(
            Path(key).read_bytes(),
            Path(cert).read_bytes(),
            [Path(path).read_bytes() for path in sorted(glob.glob(pattern))],  # noqa: PTH207
            digest=digest or conf.security_digest,
            inner=serializer,
            key_password=key_password or conf.security_key_password,
        )
    )
    conf.accept_content = ["auth"]
