"""Calls and canvases as data, for cases to hand to a driver.

```python
chain(call("add", 1, 2), call("add", 3)).link(call("collect"))
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

__all__ = ["Form", "call", "chain", "chord", "chunks", "group", "mapped", "pipe", "starmapped"]


@dataclass(frozen=True)
class Form:
    """Describes a signature or canvas; the driver builds the real one."""

    kind: str
    fields: dict[str, object] = field(default_factory=dict)
    links: tuple[Form, ...] = ()
    errbacks: tuple[Form, ...] = ()
    stamps: dict[str, object] = field(default_factory=dict)

    def link(self, *callbacks: Form) -> Form:
        """Add callbacks."""
        return replace(self, links=(*self.links, *callbacks))

    def link_error(self, *errbacks: Form) -> Form:
        """Add errbacks."""
        return replace(self, errbacks=(*self.errbacks, *errbacks))

    def stamped(self, **stamps: object) -> Form:
        """Add stamps."""
        return replace(self, stamps={**self.stamps, **stamps})

    def with_options(self, **options: object) -> Form:
        """Add call options (of a plain call)."""
        before = self.fields.get("options")
        merged = {**(before if isinstance(before, dict) else {}), **options}
        return replace(self, fields={**self.fields, "options": merged})

    def to_form(self) -> dict[str, object]:
        """Return the fields as drivers read them."""
        return {
            "kind": self.kind,
            **self.fields,
            "link": list(self.links),
            "link_error": list(self.errbacks),
            "stamps": self.stamps,
        }


def call(
    task: str, *args: object, immutable: bool = False, by_name: bool = False, **kwargs: object
) -> Form:
    """Describe a call of one task; `by_name` makes its signature without the task object."""
    return Form(
        "call",
        {
            "task": task,
            "args": list(args),
            "kwargs": kwargs,
            "immutable": immutable,
            "by_name": by_name,
        },
    )


def chain(*tasks: Form) -> Form:
    """Describe a chain."""
    return Form("chain", {"tasks": list(tasks)})


def pipe(*tasks: Form) -> Form:
    """Describe ``a | b | ...``."""
    return Form("pipe", {"tasks": list(tasks)})


def group(*tasks: Form) -> Form:
    """Describe a group."""
    return Form("group", {"tasks": list(tasks)})


def chord(header: Sequence[Form] | Form, body: Form) -> Form:
    """Describe a chord; the header is a list or a group."""
    return Form(
        "chord", {"header": header if isinstance(header, Form) else list(header), "body": body}
    )


def mapped(task: str, items: Sequence[object]) -> Form:
    """Describe ``task.map(items)``."""
    return Form("map", {"task": task, "it": list(items)})


def starmapped(task: str, items: Sequence[object]) -> Form:
    """Describe ``task.starmap(items)``."""
    return Form("starmap", {"task": task, "it": list(items)})


def chunks(task: str, items: Sequence[object], size: int) -> Form:
    """Describe ``task.chunks(items, size)``."""
    return Form("chunks", {"task": task, "it": list(items), "n": size})
