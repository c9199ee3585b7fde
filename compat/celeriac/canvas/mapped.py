"""Many calls of one task in few messages: `xmap`, `xstarmap`, `chunks`. Spec: results-and-workflows#6.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from celeriac.canvas.signature import Signature, maybe_signature
from celeriac.result.current import app_or_current

if TYPE_CHECKING:
    from celeriac.canvas.group import group

__all__ = ["chunks", "xmap", "xstarmap"]


class _BaseMap(Signature):
    _task_name: ClassVar[str]

    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        app = options.pop("app", None)
        super().__init__(
            self._task_name,
            (),
            {"task": task, "it": list(it)},
            options=options,
            immutable=True,
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        kwargs = d["kwargs"]
        made = cls(maybe_signature(kwargs["task"], app=app), kwargs["it"], app=app)
        made.options = dict(d["options"])
        return made

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Any:
        """Return a copy with options added; its arguments are fixed."""
        _, _, options = self.merged(None, None, opts)
        made = type(self).from_dict({**self, "options": options}, app=self._app)
        made._type = self._type
        return made


@Signature.register_type()
class xmap(_BaseMap):  # noqa: N801 - the public name
    """``[task(x) for x in it]`` as one task.

    Args:
        task: Signature of the task; only its name counts.
        it: Items.
        options: Call options.
    """

    _task_name = "celery.map"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task'].task}(x) for x in {self.kwargs['it']!r}]"


@Signature.register_type()
class xstarmap(_BaseMap):  # noqa: N801 - the public name
    """``[task(*x) for x in it]`` as one task; arguments as for `xmap`."""

    _task_name = "celery.starmap"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task'].task}(*x) for x in {self.kwargs['it']!r}]"


@Signature.register_type()
class chunks(Signature):  # noqa: N801 - the public name
    """A group of starmaps of at most `n` items each.

    Args:
        task: Signature of the task; only its name counts.
        it: Argument tuples.
        n: Items per message.
        options: Call options.
    """

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        app = options.pop("app", None)
        super().__init__(
            "celery.chunks",
            (),
            {"task": task, "it": list(it), "n": n},
            options=options,
            immutable=True,
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        kwargs = d["kwargs"]
        made = cls(maybe_signature(kwargs["task"], app=app), kwargs["it"], kwargs["n"], app=app)
        made.options = dict(d["options"])
        return made

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Any:
        """Return a copy with options added; its arguments are fixed."""
        _, _, options = self.merged(None, None, opts)
        made = type(self).from_dict({**self, "options": options}, app=self._app)
        made._type = self._type
        return made

    def group(self) -> group:
        """Return the group of starmaps."""
        from celeriac.canvas.group import group

        task = self.kwargs["task"]
        items = iter(self.kwargs["it"])
        parts = iter(lambda: list(islice(items, self.kwargs["n"])), [])
        return group([xstarmap(task, part, app=self._app) for part in parts], app=self._app)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Publish the group."""
        if route_name is not None:
            options["route_name"] = route_name
        return self.group().apply_async(args, kwargs, **options)

    def __call__(self, **options: Any) -> Any:
        """Publish the group."""
        return self.apply_async(**options)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Any = None) -> Any:
        """Publish without making a signature first; what the task `celery.chunks` does."""
        app = app_or_current(app)
        return cls(maybe_signature(task, app=app), it, n, app=app).apply_async()
