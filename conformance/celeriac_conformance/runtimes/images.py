"""Images of servers and implementations, built from the Dockerfiles in `conformance/images` when they are missing."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker.errors

from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import CannotSetUpError, NotOfferedError
from celeriac_conformance.runtimes.commands import CHECKOUT

__all__ = ["DEFAULT_PYTHON", "REPOSITORY", "SERVERS", "Images"]

REPOSITORY = "celeriac-conformance"
DEFAULT_PYTHON = "3.11"
"""Python of implementations that name none."""
SERVERS: Mapping[str, tuple[str, str]] = {
    "redis": ("redis", "redis:7.0"),
    "valkey": ("valkey", "valkey/valkey:8.1"),
    "rabbitmq": ("rabbitmq", "rabbitmq:3.10"),
    "rabbitmq4": ("rabbitmq", "rabbitmq:4.0"),
}
"""Folder of the Dockerfile and public base image of each kind of server."""

_FOLDER = CHECKOUT / "conformance" / "images"
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_NETWORK_VARIABLES = ("PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Images:
    """Finds images and builds what is missing.

    An image is named after what goes into it, so that a change of a Dockerfile, a requirement or the base makes
    another one, and nothing that a run may be using is ever rebuilt.

    Args:
        client: A client of the engine.
        progress: Told one line whenever something slow starts.
        locks: Folder for lock files.
    """

    def __init__(self, client: Any, progress: Callable[[str], None], locks: Path) -> None:
        self._client = client
        self._progress = progress
        self._locks = locks
        self._ready: dict[str, str] = {}

    def server(self, kind: str) -> str:
        """Return the image of a server.

        Raises:
            CannotSetUpError: There is none of that kind, or it cannot be built.
        """
        if kind not in self._ready:
            if kind not in SERVERS:
                raise CannotSetUpError(f"no image for {kind!r}: expected one of {sorted(SERVERS)}")
            folder, public = SERVERS[kind]
            self._ready[kind] = self._image(kind, folder, self._base(kind, public), {})
        return self._ready[kind]

    def python(self, implementation: Implementation) -> str:
        """Return the image that has an implementation installed.

        Raises:
            NotOfferedError: There is no base image with the Python it is pinned to, or no image of its kind.
            CannotSetUpError: It cannot be built.
        """
        if implementation.ecosystem != "python":
            raise NotOfferedError(
                f"{implementation.name} runs with --runtime process only: no image for {implementation.ecosystem}"
            )
        if implementation.name not in self._ready:
            version = implementation.python or DEFAULT_PYTHON
            base = self._base(f"python-{version}", f"python:{version}-slim")
            if implementation.python and self._is_out_of_reach(base):
                raise NotOfferedError(
                    f"{implementation.name} needs Python {version}: no image {base} here and none to be had "
                    f"(make images IMAGES=python-{version})"
                )
            requirements = implementation.requirements or _own_requirements()
            files = {"requirements.txt": "\n".join(requirements) + "\n"}
            name = implementation.name if implementation.requirements else "celeriac"
            self._ready[implementation.name] = self._image(name, "python", base, files)
        return self._ready[implementation.name]

    def _base(self, name: str, public: str) -> str:
        """Return the base made by `make images` where there is one, and the public image elsewhere."""
        made = f"{REPOSITORY}/base:{name}"
        return made if self._find(made) is not None else public

    def _is_out_of_reach(self, reference: str) -> bool:
        """Say whether an image is neither here nor in a registry that answers."""
        if self._find(reference) is not None:
            return False
        try:
            self._progress(f"pulling {reference}")
            self._client.images.pull(reference)
        except docker.errors.APIError:
            return True
        return False

    def _find(self, reference: str) -> Any:
        try:
            return self._client.images.get(reference)
        except docker.errors.ImageNotFound:
            return None

    def _image(self, name: str, folder: str, base: str, files: Mapping[str, str]) -> str:
        found = self._find(base)
        sources = {path.name: path.read_text("utf-8") for path in (_FOLDER / folder).iterdir()}
        parts = [base if found is None else found.id, *sorted({**sources, **files}.items())]
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
        tag = f"{REPOSITORY}/{name.lower()}:{digest}"
        with self._locked(tag):
            if self._find(tag) is None:
                self._progress(f"building the image {tag} from {base}")
                self._build(tag, base, {**sources, **files})
        return tag

    def _build(self, tag: str, base: str, files: Mapping[str, str]) -> None:
        certificates = next(
            (os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), None
        )
        given = {name: os.environ[name] for name in _NETWORK_VARIABLES if os.environ.get(name)}
        with tempfile.TemporaryDirectory(prefix="celeriac-image-") as context:
            for name, text in files.items():
                (Path(context) / name).write_text(text, "utf-8")
            if certificates is not None and Path(certificates).is_file():
                shutil.copy(certificates, Path(context) / "certificates.pem")
            try:
                self._client.images.build(
                    path=context,
                    tag=tag,
                    buildargs={"BASE": base, **given},
                    # What a build downloads goes the way the host's downloads go.
                    network_mode="host",
                    rm=True,
                    forcerm=True,
                )
            except docker.errors.BuildError as error:
                said = "".join(str(line.get("stream", "")) for line in error.build_log)
                raise CannotSetUpError(f"{tag}: {error}\n{said[-4000:]}") from error
            except docker.errors.APIError as error:
                hint = "" if base.startswith(REPOSITORY) else f" ('make images' makes {base} here)"
                raise CannotSetUpError(f"{tag}: {error}{hint}") from error

    @contextmanager
    def _locked(self, tag: str) -> Iterator[None]:
        """Let one process at a time build an image."""
        self._locks.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9.]+", "-", tag)
        with (self._locks / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _own_requirements() -> tuple[str, ...]:
    """Return what our own library needs, with every extra, in the versions that run the suite itself."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    return tuple(sorted({_pinned(line) for line in wanted if not line.startswith("celeriac[")}))


def _pinned(requirement: str) -> str:
    name, _, marker = requirement.partition(";")
    found = _NAME.match(name)
    if found is None or marker:
        return requirement
    try:
        return f"{found.group()}=={importlib.metadata.version(found.group())}"
    except importlib.metadata.PackageNotFoundError:
        return requirement
