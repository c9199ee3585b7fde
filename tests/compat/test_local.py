"""Proxies behave like what they stand for; stacks belong to one thread."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.local import LocalStack, PromiseProxy, Proxy, maybe_evaluate, try_import, unevaluated


def unbound() -> Any:
    raise RuntimeError("unbound")


def test_a_proxy_takes_part_in_whatever_its_object_can_do() -> None:
    number: Any = Proxy(lambda: 5)
    assert (number + 1, 1 + number, -number, divmod(number, 2), number == 5, hash(number)) == (
        6,
        6,
        -5,
        (2, 1),
        True,
        5,
    )
    assert isinstance(number, int)
    words: Any = Proxy(lambda: {"a": 1}.copy(), name="words")
    assert (words["a"], len(words), list(words), "a" in words, words.__name__) == (
        1,
        1,
        ["a"],
        True,
        "words",
    )


def test_a_proxy_asks_anew_at_every_use() -> None:
    current = ["one"]
    proxy: Any = Proxy(lambda: current[0])
    assert str(proxy) == "one"
    current[0] = "two"
    assert str(proxy) == "two"


def test_setting_an_attribute_sets_it_on_the_object() -> None:
    class Target:
        value = 1

    target = Target()
    proxy: Any = Proxy(lambda: target)
    proxy.value = 2
    assert target.value == 2
    del proxy.value
    assert target.value == 1


def test_an_unbound_proxy_is_false_and_says_so() -> None:
    proxy: Any = Proxy(unbound)
    assert not proxy
    assert dir(proxy) == []
    assert repr(proxy) == "<Proxy unbound>"
    with pytest.raises(RuntimeError, match="unbound"):
        str(proxy)


def test_the_class_itself_keeps_its_own_name_and_module() -> None:
    assert type.__getattribute__(Proxy, "__name__") == "Proxy"
    assert Proxy.__module__ == "celeriac.local"
    assert Proxy(lambda: LocalStack).__module__ == "celeriac.local"


def test_a_promise_is_kept_once_and_only_when_needed() -> None:
    asked: list[int] = []

    def find() -> list[int]:
        asked.append(1)
        return [1, 2]

    promise: Any = PromiseProxy(find, name="numbers", __doc__="some numbers")
    assert (promise.__doc__, promise.__name__, type(promise).__name__) == (
        "some numbers",
        "numbers",
        "PromiseProxy",
    )
    assert not promise.__evaluated__()
    assert unevaluated(promise)
    assert (len(promise), promise[1], len(asked)) == (2, 2, 1)
    assert promise.__evaluated__()
    assert maybe_evaluate(promise) == [1, 2]


def test_what_waits_for_a_promise_runs_when_it_is_kept() -> None:
    calls: list[Any] = []
    promise = PromiseProxy(lambda: "x")
    promise.__then__(calls.append, 1)
    assert calls == []
    assert str(promise) == "x"
    promise.__then__(calls.append, 2)
    assert calls == [1, 2]


def test_a_promise_that_fails_is_tried_again() -> None:
    answers: Iterator[Any] = iter([ValueError("not yet"), "now"])

    def find() -> Any:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    promise: Any = PromiseProxy(find)
    with pytest.raises(ValueError, match="not yet"):
        str(promise)
    assert not promise.__evaluated__()
    assert str(promise) == "now"


def test_a_proxy_pickles_as_its_object() -> None:
    assert pickle.loads(pickle.dumps(PromiseProxy(lambda: [1, 2]))) == [1, 2]


def test_try_import_answers_with_the_default_when_there_is_no_module() -> None:
    assert try_import("no.such.module", "default") == "default"
    assert try_import("json").loads("1") == 1


def test_a_stack_gives_back_what_was_pushed_last() -> None:
    stack: LocalStack[int] = LocalStack()
    assert (stack.top, stack.pop(), len(stack)) == (None, None, 0)
    stack.push(1)
    assert stack.push(2) == [1, 2]
    assert (stack.top, stack.stack, stack.pop(), stack.top) == (2, [1, 2], 2, 1)


def test_every_thread_has_a_stack_of_its_own() -> None:
    stack: LocalStack[int] = LocalStack()
    stack.push(1)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(stack.top))
    thread.start()
    thread.join()
    assert seen == [None]


def test_asyncio_tasks_do_not_see_each_others_pushes() -> None:
    stack: LocalStack[str] = LocalStack()

    async def work(name: str, gate: asyncio.Event) -> str | None:
        stack.push(name)
        await gate.wait()
        return stack.top

    async def both() -> list[str | None]:
        gate = asyncio.Event()
        jobs = [asyncio.ensure_future(work(name, gate)) for name in ("a", "b")]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*jobs)

    assert asyncio.run(both()) == ["a", "b"]
