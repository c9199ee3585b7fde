"""A name is public when it is listed; the lists say what is there, and all of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import celeriac_protocol

ROOT = Path(celeriac_protocol.__file__).parent
# `strategies` needs hypothesis, which the package itself does not.
MODULES = [
    found.name
    for found in pkgutil.walk_packages([str(ROOT)], "celeriac_protocol.")
    if not found.name.startswith("celeriac_protocol.strategies")
]


def test_the_package_lists_exactly_what_it_imports() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert imported | {"__version__"} == set(celeriac_protocol.__all__)
    assert len(celeriac_protocol.__all__) == len(set(celeriac_protocol.__all__))


def test_the_list_of_the_package_is_sorted_constants_classes_functions() -> None:
    def rank(name: str) -> tuple[int, str]:
        kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
        return kind, name

    assert sorted(celeriac_protocol.__all__, key=rank) == celeriac_protocol.__all__


def test_what_the_package_exports_is_public_where_it_comes_from() -> None:
    listed = {
        id(getattr(module, name))
        for module in map(importlib.import_module, MODULES)
        for name in getattr(module, "__all__", ())
    }
    for name in celeriac_protocol.__all__:
        if name != "__version__":
            assert id(getattr(celeriac_protocol, name)) in listed, name


@pytest.mark.parametrize("name", MODULES)
def test_every_listed_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_class_and_function_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    bare = [
        public
        for public in module.__all__
        if (inspect.isfunction(value := getattr(module, public)) or inspect.isclass(value))
        and not (value.__doc__ or "").strip()
    ]
    assert bare == []


def test_the_version_is_one_that_packaging_takes() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", celeriac_protocol.__version__)


def test_importing_the_package_loads_no_optional_library() -> None:
    optional = (
        "'msgpack', 'yaml', 'cryptography', 'zstandard', 'brotli', 'hypothesis', 'kombu', 'amqp'"
    )
    code = (
        "import sys, celeriac_protocol;"
        f"print(sorted(name for name in ({optional}) if name in sys.modules))"
    )
    # The interpreter is the one running the tests, the code a constant.
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT.parent)},
    )
    assert done.stdout.strip() == "[]"
