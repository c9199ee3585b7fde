"""`import celery` gives modules that are Celeriac's, and says so where Celeriac has nothing to give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat.programs import ROOT, run, run_with_shim

MUST = [
    "from celery import Celery, shared_task, Task, group, chain, chord, current_app, current_task",
    "from celery import signature, subtask, Signature, chunks, xmap, xstarmap, maybe_signature, uuid, bugreport",
    "from celery.exceptions import Retry, SoftTimeLimitExceeded, MaxRetriesExceededError, Ignore, TimeoutError",
    "from celery.utils.log import get_task_logger, get_logger, ColorFormatter, LoggingProxy",
    "from celery.signals import setup_logging, worker_process_init, task_postrun, after_setup_logger",
    "from celery.result import AsyncResult, allow_join_result, EagerResult, GroupResult, ResultSet, result_from_tuple",
    "from celery.canvas import Signature, group, chain, chord",
    "from celery.states import SUCCESS, FAILURE, STARTED, READY_STATES",
    "from celery._state import get_current_task, get_current_app, set_default_app, _task_stack",
    "from celery.app.task import Task, Context",
    "from celery.app import app_or_default, Celery",
    "from celery.app.log import Logging, TaskFormatter",
    "from celery.app.defaults import DEFAULT_TASK_LOG_FMT",
    "from celery.local import Proxy, PromiseProxy",
    "from celery.loaders.app import AppLoader",
    "from celery.utils.dispatch import Signal",
    "from celery.utils.threads import LocalStack",
    "from celery.utils import uuid, cached_property, nodesplit, get_full_cls_name",
    "from celery.utils.imports import symbol_by_name, instantiate",
    "from celery.utils.functional import maybe_list",
    "from celery.utils.nodenames import gethostname",
    "from celery.utils.serialization import b64encode, b64decode, create_exception_cls",
    "from celery.utils.time import maybe_make_aware, maybe_timedelta, remaining, humanize_seconds, timezone",
    "from celery.registry import tasks",
    "from celery.execute import send_task",
    "from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError, Terminated",
    "from billiard.einfo import ExceptionInfo",
]


def test_the_documented_names_can_be_imported(tmp_path: Path) -> None:
    lines = "\n".join(MUST)
    assert run_with_shim(f"{lines}\nprint('ok')", tmp_path) == "ok\n"


def test_modules_are_module_objects_under_their_celery_name(tmp_path: Path) -> None:
    program = """
        import sys, types, celery, celery.app.task, celery.exceptions
        for name in ("celery", "celery.app.task", "celery.exceptions"):
            module = sys.modules[name]
            assert isinstance(module, types.ModuleType) and module.__name__ == name, module
        assert celery.app.task is sys.modules["celery.app.task"]
        print(celery.__version__, celery.VERSION >= (4, 4, 7), celery.VERSION < (5, 1), celery.VERSION_BANNER)
        assert {"Celery", "shared_task", "group"} <= set(dir(celery))
    """
    assert run_with_shim(program, tmp_path) == "5.7.0 True False 5.7.0 (collider)\n"


def test_importing_celery_loads_no_application_code(tmp_path: Path) -> None:
    program = """
        import sys, celery
        heavy = [name for name in sys.modules if name.startswith(("kombu", "celeriac.app", "celeriac.canvas"))]
        print(heavy)
    """
    assert run_with_shim(program, tmp_path) == "[]\n"


def test_assigning_to_a_name_changes_what_celeriac_reads(tmp_path: Path) -> None:
    program = """
        import celery.utils.log, celeriac.app.log
        celery.utils.log.get_task_logger = "patched"
        print(celeriac.app.log.get_task_logger)
    """
    assert run_with_shim(program, tmp_path) == "patched\n"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "import celery.no_such_module",
            "ModuleNotFoundError: No module named 'celery.no_such_module'",
        ),
        ("from celery.app.task import NoSuchName", "ImportError: cannot import name 'NoSuchName'"),
        ("import celery; celery.no_such_name", "AttributeError: module 'celery' has no attribute"),
    ],
)
def test_a_gap_is_an_ordinary_error(line: str, error: str, tmp_path: Path) -> None:
    script = tmp_path / "gap.py"
    script.write_text(line, encoding="utf-8")
    done = run(["-m", "celeriac.shim", script.name], tmp_path)
    assert done.returncode == 1
    assert error in done.stderr


def test_it_wins_over_an_installed_celery_even_when_that_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "celery").mkdir()
    (tmp_path / "celery" / "__init__.py").write_text("genuine = True\n", encoding="utf-8")
    program = """
        import celery
        assert celery.genuine
        from celeriac import shim
        shim.install(); shim.install()
        import celery
        print(hasattr(celery, "genuine"), celery.Celery.__name__)
    """
    script = tmp_path / "program.py"
    script.write_text("\n".join(line[8:] for line in program.splitlines()), encoding="utf-8")
    done = run([script.name], tmp_path)
    assert done.stdout == "False Celery\n", done.stderr


def test_a_program_gets_its_arguments_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("value = 7\n", encoding="utf-8")
    (tmp_path / "prog.py").write_text(
        "import sys, neighbour\nprint(__name__, sys.argv, neighbour.value)\n", encoding="utf-8"
    )
    done = run(["-m", "celeriac.shim", "prog.py", "a", "--b"], tmp_path)
    assert done.stdout == "__main__ ['prog.py', 'a', '--b'] 7\n", done.stderr


def test_without_a_program_it_says_how_it_is_used(tmp_path: Path) -> None:
    done = run(["-m", "celeriac.shim"], tmp_path)
    assert (done.returncode, done.stderr[:6]) == (2, "usage:")


def test_the_tutorial_project_imports_unchanged(tmp_path: Path) -> None:
    program = """
        from proj.celery import app
        from proj.tasks import add, mul, xsum
        print(sorted(name for name in app.tasks if name.startswith("proj.")))
        print(app.conf.result_expires, app.conf.broker_url, app.conf.result_backend)
        print(add(4, 4), mul(4, 4), xsum([1, 2]), type(add).__name__, repr(add).split(" at ")[0])
    """
    output = run_with_shim(
        program, tmp_path, PYTHONPATH=f"{ROOT / 'protocol'}:{ROOT / 'compat'}:{ROOT / 'examples'}"
    )
    assert output.splitlines() == [
        "['proj.tasks.add', 'proj.tasks.mul', 'proj.tasks.xsum']",
        "3600 amqp:// rpc://",
        "8 16 3 PromiseProxy <@task: proj.tasks.add of proj",
    ]
