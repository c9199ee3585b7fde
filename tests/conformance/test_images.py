"""Images of the docker runtime: what they are named after, what they hold, and what there is none for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import CannotSetUpError, NotOfferedError
from celeriac_conformance.runtimes.images import Images

PINNED = Implementation(
    name="celery-9.9", library="celery", python="3.8", requirements=("celery==9.9",)
)
OURS = Implementation(name="celeriac", library="celeriac")
BASE = "celeriac-conformance/base:python-3.8"


@dataclass
class Engine:
    """An engine with the images it is said to have, and no registry."""

    here: dict[str, str] = field(default_factory=dict)
    built: list[dict[str, Any]] = field(default_factory=list)
    context: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> Engine:
        return self

    @property
    def id(self) -> str:
        return "sha256:1"

    def get(self, reference: str) -> Engine:
        if reference not in self.here:
            raise docker.errors.ImageNotFound(reference)
        return self

    def pull(self, reference: str) -> Engine:
        raise docker.errors.APIError("no such host")

    def build(self, *, path: str, tag: str, **options: Any) -> None:
        self.built.append({"tag": tag, **options})
        self.context = {found.name: found.read_text() for found in Path(path).iterdir()}
        self.here[tag] = tag


@pytest.fixture
def images(tmp_path: Path) -> Callable[[Engine], Images]:
    return lambda engine: Images(engine, lambda line: None, tmp_path)


def test_an_image_is_built_once_from_the_base_made_here(
    images: Callable[[Engine], Images],
) -> None:
    engine = Engine(here={BASE: BASE})
    tag = images(engine).python(PINNED)
    assert images(engine).python(PINNED) == tag
    assert tag.startswith("celeriac-conformance/celery-9.9:")
    assert [made["buildargs"]["BASE"] for made in engine.built] == [BASE]
    assert engine.context["requirements.txt"] == "celery==9.9\n"
    assert "FROM ${BASE}" in engine.context["Dockerfile"]


def test_another_requirement_makes_another_image(images: Callable[[Engine], Images]) -> None:
    engine = Engine(here={BASE: BASE})
    other = replace(PINNED, requirements=("celery==9.9", "kombu==9.9"))
    assert images(engine).python(PINNED) != images(engine).python(other)


def test_certificates_of_the_host_are_no_part_of_the_name(
    images: Callable[[Engine], Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("trusted")
    engine = Engine(here={BASE: BASE})
    before = images(engine).python(PINNED)
    engine.here.pop(before)
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    assert images(engine).python(PINNED) == before
    assert engine.context["certificates.pem"] == "trusted"


def test_our_own_image_holds_the_versions_that_run_the_suite(
    images: Callable[[Engine], Images],
) -> None:
    engine = Engine(here={"celeriac-conformance/base:python-3.11": ""})
    images(engine).python(OURS)
    lines = engine.context["requirements.txt"].splitlines()
    names = {line.partition("==")[0].lower() for line in lines}
    assert {"kombu", "amqp", "redis", "sqlalchemy", "msgpack", "cryptography"} <= names
    assert not any(line.startswith("celeriac") for line in lines)


def test_a_python_that_no_base_has_is_unsupported(images: Callable[[Engine], Images]) -> None:
    with pytest.raises(NotOfferedError, match=r"needs Python 3\.8.*make images IMAGES=python-3\.8"):
        images(Engine()).python(PINNED)


def test_an_implementation_of_another_ecosystem_is_unsupported(
    images: Callable[[Engine], Images],
) -> None:
    node = Implementation(name="node-thing", library="thing", ecosystem="npm")
    with pytest.raises(NotOfferedError, match="node-thing runs with --runtime process only"):
        images(Engine()).python(node)


def test_an_unknown_server_is_named(images: Callable[[Engine], Images]) -> None:
    with pytest.raises(CannotSetUpError, match="no image for 'kafka'"):
        images(Engine()).server("kafka")
