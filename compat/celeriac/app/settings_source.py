"""Configuration sources: objects read as mappings, and the rule that old and new names do not mix.

Spec: app-and-cli#11.3, #11.5
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celeriac.app.settings_table import NEW_NAMES, OLD_NAMES
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["AttributeSource", "check_styles"]

_MISSING = object()

_RENAME_TO_NEW = """

Cannot mix new and old setting keys, please rename the
following settings to the new format:

{renames}

"""

_RENAME_TO_OLD = """

Cannot mix new setting names with old setting names, please
rename the following settings to use the old format:

{renames}

Or change all of the settings to use the new format :)

"""


class AttributeSource(Mapping[str, Any]):
    """The attributes of a module, class or object as a mapping.

    Every attribute can be looked up; iteration leaves out what cannot be a setting: modules, functions and classes
    under names that are no settings.
    """

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self.obj, key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and getattr(self.obj, key, _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[str]:
        for name in dir(self.obj):
            if name.startswith("__"):
                continue
            if name in OLD_NAMES or name in NEW_NAMES or name.isupper():
                yield name
                continue
            value = getattr(self.obj, name, None)
            if not (inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)):
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<settings of {self.obj!r}>"


def check_styles(keys: Iterable[str], *, strict: bool) -> set[str]:
    """Decide whether settings are written in old or new names, and refuse a mixture.

    The style with more names wins, new names on a tie. A name of the other style is tolerated when its counterpart is
    there too.

    Args:
        keys: Names in use.
        strict: Refuse a mixture; without, only look.

    Returns:
        The old names in use.

    Raises:
        ImproperlyConfigured: Names of both styles; the text lists what to rename.
    """
    names = set(keys)
    new = names & OLD_NAMES.keys()
    old = names & NEW_NAMES.keys()
    if strict and new and old:
        if len(new) >= len(old):
            wrong, text = {(name, NEW_NAMES[name]) for name in old}, _RENAME_TO_NEW
        else:
            wrong, text = {(name, OLD_NAMES[name]) for name in new}, _RENAME_TO_OLD
        renames = sorted(pair for pair in wrong if pair[1] not in names)
        if renames:
            lines = "\n".join(f"{found:<36} -> {wanted}" for found, wanted in renames)
            raise ImproperlyConfigured(text.format(renames=lines))
    return old
