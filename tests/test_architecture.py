"""The rules of the house that can be read off the source: who imports whom, what is public, what is swallowed.

Imports are read with `ast`, so a module that cannot be imported here (another platform, an extra that is not
installed) is checked like any other. An import below `if TYPE_CHECKING:` is a name for readers, not a dependency.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "celeriac_protocol": ROOT / "protocol" / "celeriac_protocol",
    "celeriac": ROOT / "compat" / "celeriac",
    "celeriac_conformance": ROOT / "conformance" / "celeriac_conformance",
}
MODULES = [
    (package, path.relative_to(folder).as_posix())
    for package, folder in SOURCES.items()
    for path in sorted(folder.rglob("*.py"))
]
LONGEST_MODULE = 600

SANS_IO = {
    *(
        "asyncio",
        "concurrent",
        "fcntl",
        "glob",
        "http",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
    ),
    *(
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "ssl",
    ),
    *("subprocess", "tempfile", "threading", "time", "urllib"),
}
"""Standard modules with sockets, threads, files, the clock, randomness or the environment."""

PROTOCOL_EXTRAS = {
    "msgpack": "serializers/msgpack.py",
    "yaml": "serializers/yaml.py",
    "cryptography": "serializers/auth.py",
    "zstandard": "*compression.py",
    "brotli": "*compression.py",
    "hypothesis": "strategies/*",
}
"""Distribution that only these files of the protocol package may import."""

COMPAT_EXTRAS = {
    "kombu": ("brokers/*", "backends/rpc.py", "app/log.py"),
    "amqp": ("brokers/*",),
    "redis": ("brokers/*", "backends/redis*.py"),
    "sqlalchemy": ("backends/database*.py", "brokers/kombu_sqlalchemy.py"),
    "click": ("cli/*", "__main__.py", "exceptions.py"),
}
KOMBU_VALUES = {"Broadcast", "Exchange", "Queue", "binding", "exceptions"}
KOMBU_VALUE_MODULES = {"kombu.exceptions", "kombu.utils.url"}
"""kombu names that users put in settings or catch, and functions of texts: values, not I/O."""

LAYERS = (
    {"exceptions", "clock", "signals", "states", "local", "platforms", "schedules"},
    {"backends", "brokers", "pools"},
    {"canvas", "result"},
    {"app", "control"},
    {"worker", "beat", "events"},
    {"cli"},
)
"""Packages of `celeriac`, lowest first: each imports from its own layer and below."""
ABOVE_ALL = {"__init__.py", "__main__.py", "shim.py"}
ALLOWED_UP: dict[tuple[str, str], str] = {}
"""(file, imported module): why it reaches up all the same."""


class Import(NamedTuple):
    module: str
    name: str | None
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def tree_of(package: str, module: str) -> ast.Module:
    return ast.parse((SOURCES[package] / module).read_text(encoding="utf-8"))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(node: ast.AST) -> Iterator[Import]:
    """Yield every import, also those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: imports are absolute"
            for alias in child.names:
                yield Import(child.module or "", alias.name, child.lineno)
        elif _is_type_checking(child):
            assert isinstance(child, ast.If)
            for branch in child.orelse:
                yield from imports(branch)
        else:
            yield from imports(child)


def allowed_in_protocol(found: Import, module: str) -> bool:
    if found.top in {"celeriac_protocol", "__future__"}:
        return True
    if found.top in PROTOCOL_EXTRAS:
        return fnmatch(module, PROTOCOL_EXTRAS[found.top])
    return found.top in sys.stdlib_module_names and found.top not in SANS_IO


def allowed_in_compat(found: Import, module: str) -> bool:
    if found.top in {"celery", "billiard", "vine", "celeriac_conformance"}:
        return False
    if found.top == "kombu" and (found.name in KOMBU_VALUES or found.module in KOMBU_VALUE_MODULES):
        return True
    return found.top not in COMPAT_EXTRAS or any(
        fnmatch(module, pattern) for pattern in COMPAT_EXTRAS[found.top]
    )


DOCKER_MODULES = {
    f"runtimes/{name}.py" for name in ("containers", "docker", "engine", "images", "watcher")
}


def allowed_in_conformance(found: Import, module: str) -> bool:
    if found.top in {"celery", "celeriac"}:
        return module.startswith("drivers/")
    if found.top in {"docker", "testcontainers"}:
        return module in DOCKER_MODULES
    return True


RULES = {
    "celeriac_protocol": allowed_in_protocol,
    "celeriac": allowed_in_compat,
    "celeriac_conformance": allowed_in_conformance,
}

every_module = pytest.mark.parametrize(
    ("package", "module"), MODULES, ids=["/".join(pair) for pair in MODULES]
)


@every_module
def test_a_module_imports_only_what_its_package_may(package: str, module: str) -> None:
    wrong = [
        found for found in imports(tree_of(package, module)) if not RULES[package](found, module)
    ]
    assert wrong == []


def layer_of(name: str) -> int | None:
    return next((number for number, names in enumerate(LAYERS) if name in names), None)


@pytest.mark.parametrize(
    "module",
    [module for package, module in MODULES if package == "celeriac" and module not in ABOVE_ALL],
)
def test_imports_inside_celeriac_run_downwards(module: str) -> None:
    own = layer_of(module.partition("/")[0].removesuffix(".py"))
    if own is None:
        return  # contrib and the modules that only re-export sit beside the layers
    upwards = []
    for found in imports(tree_of("celeriac", module)):
        parts = found.module.split(".")
        if parts[0] != "celeriac":
            continue
        target = parts[1] if len(parts) > 1 else found.name or ""
        layer = layer_of(target)
        if layer is not None and layer > own and (module, found.module) not in ALLOWED_UP:
            upwards.append(found)
    assert upwards == []


def test_every_exception_to_the_direction_is_still_needed() -> None:
    present = {
        (module, found.module)
        for package, module in MODULES
        if package == "celeriac"
        for found in imports(tree_of(package, module))
    }
    assert set(ALLOWED_UP) <= present


def listed_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                if not isinstance(node.value, ast.List | ast.Tuple):
                    return None  # computed: what it holds is not to be read off the source
                return [
                    ast.literal_eval(item)
                    for item in node.value.elts
                    if isinstance(item, ast.Constant)
                ]
    return None


def defined_names(body: list[ast.stmt]) -> Iterator[tuple[str, bool]]:
    """Yield (name, is a function or class made here) for every module-level name."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, True
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield name.id, False
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield (alias.asname or alias.name.partition(".")[0]), False
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.For):
            yield from defined_names(node.body)
            yield from defined_names(getattr(node, "orelse", []))
            for handler in getattr(node, "handlers", []):
                yield from defined_names(handler.body)


@every_module
def test_public_means_listed(package: str, module: str) -> None:
    tree = tree_of(package, module)
    listed = listed_names(tree)
    if listed is None:
        return
    defined = dict(defined_names(tree.body))
    assert len(listed) == len(set(listed))
    if "__getattr__" not in defined:
        assert set(listed) - set(defined) == set(), "listed, but not there"
    public = {name for name, made_here in defined.items() if made_here and not name.startswith("_")}
    assert public - set(listed) == set(), "there, but not listed"


@every_module
def test_a_module_stays_readable(package: str, module: str) -> None:
    lines = (SOURCES[package] / module).read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_MODULE


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(
        isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"}
        for node in ast.walk(handler.type)
    )


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


@every_module
def test_no_exception_is_swallowed_whole(package: str, module: str) -> None:
    swallowed = []
    for node in ast.walk(tree_of(package, module)):
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
            if all(_does_nothing(statement) for statement in node.body):
                swallowed.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            suppressed = {ast.unparse(argument) for argument in node.args}
            if suppressed & {"Exception", "BaseException"}:
                swallowed.append(node.lineno)
    assert swallowed == []


TEXTS = ("*.py", "*.md", "*.toml", "*.ini", "*.sh", "*.yml", "*.json", "Makefile", "run")
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.~*-])/(?:work|root|farm)/|/tmp/(?:rc|celeriac)\b")


def test_nothing_names_the_paths_of_one_machine() -> None:
    folders = [
        "protocol",
        "compat",
        "conformance",
        "tests",
        "docs",
        "examples",
        "scripts",
        "fixtures",
        ".ci",
    ]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in folders:
        files += (path for path in (ROOT / folder).rglob("*") if path.is_file())
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        if path != Path(__file__).resolve()
        and any(fnmatch(path.name, pattern) for pattern in TEXTS)
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        )
        if MACHINE_PATH.search(line)
    ]
    assert named == []
