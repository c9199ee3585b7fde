"""The public list and what is there are the same."""

from __future__ import annotations

import importlib
import pkgutil

from hypothesis.strategies import SearchStrategy

from celeriac_protocol import strategies


def test_every_public_strategy_of_every_module_is_on_the_list() -> None:
    names: set[str] = set()
    for module in pkgutil.iter_modules(strategies.__path__, f"{strategies.__name__}."):
        names.update(importlib.import_module(module.name).__all__)
    assert names == set(strategies.__all__)


def test_every_strategy_can_be_made_without_arguments() -> None:
    functions = [getattr(strategies, name) for name in strategies.__all__ if name.islower()]
    assert all(isinstance(function(), SearchStrategy) for function in functions)
