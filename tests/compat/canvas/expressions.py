"""Expressions whose messages were recorded from Celery 5.7.0. Names are those of the records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from celeriac.app.app import Celery
from celeriac.canvas import (
    StampingVisitor,
    chain,
    chord,
    group,
    maybe_signature,
    signature,
)

__all__ = ["define_tasks", "expressions", "forms"]

Expression = Callable[[], Any]


def define_tasks(app: Celery) -> dict[str, Any]:
    """Register the tasks the expressions use."""

    def add(x: int, y: int) -> int:
        return x + y

    def tsum(xs: list[int]) -> int:
        return sum(xs)

    def one(x: Any) -> Any:
        return x

    def cb(*a: Any, **k: Any) -> Any:
        return a

    def err(x: Any) -> Any:
        return x

    def mul(x: int, y: int) -> int:
        return x * y

    made = {
        fun.__name__: app.task(fun, name=f"proj.{fun.__name__}", shared=False)
        for fun in (add, tsum, one, cb, err, mul)
    }
    app.finalize()
    return made


class Visitor(StampingVisitor):
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"on_sig": sig.task}

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        return {"grp": 1}

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        return {"chn": 1}

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        return {"bdy": 1}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        return {"cbk": 1}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        return {"ebk": 1}

    def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
        return {"hdr": 1, **super().on_chord_header_start(sig, **header)}


def expressions(
    app: Celery, n: dict[str, Any], sent: Callable[[], list[Any]]
) -> dict[str, Expression]:
    """Return what to apply, by name.

    Args:
        app: The app.
        n: Its tasks.
        sent: Returns what was published since it was last called.
    """
    add, tsum, one, cb, err = (n[k] for k in ("add", "tsum", "one", "cb", "err"))
    made: dict[str, Expression] = {}

    def e(name: str) -> Callable[[Expression], Expression]:
        def keep(f: Expression) -> Expression:
            made[name] = f
            return f

        return keep

    e("delay")(lambda: add.delay(2, 3))
    e("delay-kwargs")(lambda: add.apply_async((2,), {"y": 3}))
    e("options")(
        lambda: add.apply_async(
            (2, 3),
            time_limit=60,
            soft_time_limit=30,
            priority=5,
            shadow="sh",
            headers={"x": 1, "retries": 7},
            retries=2,
        )
    )
    e("explicit-ids")(
        lambda: add.apply_async(
            (2, 3), task_id="T1", root_id="R", parent_id="P", group_id="G", group_index=3
        )
    )
    e("queue")(lambda: add.apply_async((2, 3), queue="other"))
    e("stamps-direct")(lambda: add.apply_async((2, 3), stamped_headers=["z"], z="zz"))
    e("leaks")(lambda: add.apply_async((2, 3), argsrepr="hidden", foo="bar", ignore_result=True))
    e("link-list")(lambda: add.apply_async((2, 3), link=[add.s(1), add.s(2)], link_error=err.s()))
    e("send-task-sig-unregistered")(lambda: signature("un.known", (1,), {"a": 2}).apply_async())
    e("chain3")(lambda: chain(add.s(1, 2), add.s(3), add.s(4))())
    e("chain-op")(lambda: (add.s(1, 2) | add.s(3) | add.s(4)).apply_async())
    e("chain-partial")(lambda: (add.s(2) | add.s(3)).apply_async((1,)))
    e("chain-options")(
        lambda: (add.s(1, 2) | add.s(3)).apply_async(
            priority=3, queue="q2", link=cb.s(), link_error=err.s()
        )
    )
    e("chain-set-options")(
        lambda: chain(add.s(1, 2), add.s(3)).set(queue="q3", countdown=5).apply_async()
    )
    e("chain-task-id")(lambda: (add.s(1, 2) | add.s(3)).apply_async(task_id="LAST"))

    def chain_links() -> Any:
        c = chain(add.s(1, 2), add.s(3), add.s(4))
        c.link(cb.s())
        c.link_error(err.s())
        return c.apply_async()

    e("chain-links")(chain_links)
    e("chain-nested")(lambda: chain(add.s(1, 2), chain(add.s(3), add.s(4)), add.s(5))())
    e("chain-one")(lambda: chain(add.s(1, 2))())
    e("chain-empty-groups")(lambda: (chain(add.s(1, 2), group(), add.s(3)))())
    e("chain-one-group")(lambda: (add.s(1, 2) | group(add.s(3)))())
    e("chain-one-group-then")(lambda: (add.s(1, 2) | group([add.s(3)]) | add.s(4))())
    e("chain-immutable")(lambda: (add.si(1, 2) | add.si(3, 4)).apply_async())
    e("group2")(lambda: group(add.s(1, 1), add.s(2, 2))())
    e("group1")(lambda: group([add.s(1, 1)])())
    e("group-partial")(lambda: group(add.s(1), add.s(2)).apply_async((9,), None))
    e("group-options")(
        lambda: group(add.s(1, 1), add.s(2, 2)).apply_async(
            priority=4, countdown=0, queue="qq", link_error=err.s()
        )
    )
    e("group-nested")(lambda: group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)))())
    e("group-of-chains")(lambda: group(add.s(1, 1) | add.s(2), add.s(3, 3))())
    e("group-empty")(lambda: group()())

    def group_links() -> Any:
        g = group(add.s(1, 1), add.s(2, 2))
        g.link(cb.s())
        g.link_error(err.s())
        return g.apply_async()

    e("group-links")(group_links)
    e("group-skew")(lambda: group(one.s(i) for i in range(3)).skew(0, 3, 1)())
    e("group-gen")(lambda: group(one.s(i) for i in range(2)).apply_async())
    e("chord")(lambda: chord([add.s(1, 1), add.s(2, 2)])(tsum.s()))
    e("chord-2")(lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s())())
    e("chord-links")(
        lambda: chord([add.s(1, 1), add.s(2, 2)])(tsum.s().set(link=cb.s(), link_error=err.s()))
    )

    def chord_links() -> Any:
        c = chord([add.s(1, 1), add.s(2, 2)], tsum.s())
        c.link(cb.s())
        c.link_error(err.s())
        return c.apply_async()

    e("chord-links2")(chord_links)
    e("chord-partial")(lambda: chord([add.s(1), add.s(2)], tsum.s()).apply_async((9,)))
    e("chord-options")(
        lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s()).apply_async(
            priority=4, queue="qq", task_id="BODY"
        )
    )
    e("chord-empty")(lambda: chord([], tsum.s())())
    e("chord-one")(lambda: chord([add.s(1, 1)], tsum.s())())
    e("chord-op")(lambda: (group(add.s(1, 1), add.s(2, 2)) | tsum.s())())
    e("chord-op-chain")(lambda: (group(add.s(1, 1), add.s(2, 2)) | tsum.s() | add.s(3))())
    e("chord-op-chain-3")(
        lambda: chain(group(add.s(1, 1), add.s(2, 2)), tsum.s(), add.s(3), add.s(4))()
    )
    e("task-group")(lambda: (add.s(1, 1) | group(add.s(2), add.s(3)))())
    e("task-group-task")(lambda: (add.s(1, 1) | group(add.s(2), add.s(3)) | tsum.s())())
    e("task-group-task-task")(
        lambda: (add.s(1, 1) | group(add.s(2), add.s(3)) | tsum.s() | add.s(9))()
    )
    e("task-chord-task")(lambda: (add.s(1, 1) | chord([add.s(2), add.s(3)], tsum.s()) | add.s(9))())
    e("group-group")(lambda: (group(add.s(1, 1), add.s(2, 2)) | group(cb.s(1), cb.s(2)))())
    e("group-group-task")(
        lambda: (group(add.s(1, 1), add.s(2, 2)) | group(cb.s(1), cb.s(2)) | cb.s())()
    )
    e("task-group-group")(
        lambda: (one.s(1) | group(add.s(1), add.s(2)) | group(cb.s(1), cb.s(2)))()
    )
    e("group-task-group")(
        lambda: (group(add.s(1, 1), add.s(2, 2)) | tsum.s() | group(cb.s(1), cb.s(2)))()
    )
    e("group-task-group-task")(
        lambda: (group(add.s(1, 1), add.s(2, 2)) | tsum.s() | group(cb.s(1), cb.s(2)) | cb.s(4))()
    )
    e("chord-header-chain")(lambda: chord([add.s(1, 1) | add.s(2), add.s(3, 3)], tsum.s())())
    e("chord-in-chord")(
        lambda: chord([chord([add.s(1, 1), add.s(2, 2)], tsum.s()), add.s(3, 3)], tsum.s())()
    )
    e("chord-header-chain-group")(
        lambda: chord([add.s(1, 1) | group(add.s(1), add.s(2)), add.s(3, 3)], cb.s())()
    )
    e("chord-header-group")(
        lambda: chord([group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)], tsum.s())()
    )
    e("chord-header-one-group")(lambda: chord([group(add.s(1, 1), add.s(2, 2))], tsum.s())())
    e("chord-body-group")(lambda: chord([add.s(1, 1), add.s(2, 2)], group(cb.s(1), cb.s(2)))())
    e("chord-body-chain")(lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s() | add.s(3))())
    e("chord-body-chain-group")(
        lambda: chord([add.s(1, 1)], tsum.s() | group(add.s(3), add.s(4)))()
    )
    e("chord-body-chord")(lambda: chord([add.s(1, 1)], chord([cb.s(1), cb.s(2)], cb.s()))())
    e("group-of-chords")(lambda: group(chord([add.s(1, 1)], tsum.s()), add.s(3, 3))())
    e("group-with-chain-group")(
        lambda: group(add.s(1, 1) | group(add.s(2), add.s(3)), add.s(4, 4))()
    )
    e("chain-starts-chord")(lambda: (chord([add.s(1, 1)], tsum.s()) | add.s(4))())
    e("chain-chord-chord")(
        lambda: (chord([add.s(1, 1)], tsum.s()) | chord([add.s(4), add.s(5)], tsum.s()))()
    )
    e("chain-of-group-chain")(
        lambda: (add.s(1, 1) | group(add.s(2) | add.s(3), add.s(4)) | tsum.s())()
    )
    e("map")(lambda: add.map([1, 2]).apply_async())
    e("starmap")(lambda: add.starmap([(1, 2), (3, 4)]).apply_async())
    e("chunks")(lambda: add.chunks(zip(range(4), range(4), strict=True), 2).apply_async())
    e("chunks-call")(lambda: add.chunks(zip(range(4), range(4), strict=True), 2)())
    e("chunks-group")(lambda: add.chunks(zip(range(4), range(4), strict=True), 2).group()())
    e("map-delay")(lambda: one.map([1, 2]).delay())
    e("chain-map")(lambda: (one.map([1, 2]) | tsum.s())())

    def stamped_chain() -> Any:
        c = chain(add.s(1, 1), add.s(2))
        c.stamp(mon="x")
        return c.apply_async()

    e("stamp-chain")(stamped_chain)

    def stamped_group() -> Any:
        c = group(add.s(1, 1), add.s(2, 2))
        c.stamp(mon="x")
        return c.apply_async()

    e("stamp-group")(stamped_group)

    def stamped_chord() -> Any:
        c = chord([add.s(1, 1), add.s(2, 2)], tsum.s())
        c.stamp(mon="x")
        return c.apply_async()

    e("stamp-chord")(stamped_chord)

    def stamped_sig_link() -> Any:
        s = add.s(1, 1)
        s.link(cb.s())
        s.link_error(err.s())
        s.stamp(mon="x")
        return s.apply_async()

    e("stamp-links")(stamped_sig_link)

    def vis_all() -> Any:
        s = chain(add.s(1, 1), chord([add.s(2), add.s(3)], tsum.s().set(link=cb.s())))
        s.stamp(visitor=Visitor())
        return s.apply_async()

    e("stamp-visitor")(vis_all)

    def vis_group() -> Any:
        s = group(add.s(1, 1), chain(add.s(2, 2), add.s(3)))
        s.stamp(visitor=Visitor())
        return s.apply_async()

    e("stamp-visitor-group")(vis_group)

    def stamp_append() -> Any:
        s = add.s(1, 1)
        s.stamp(a="v1")
        s.stamp(append_stamps=True, a="v2")
        s.stamp(b=[1])
        return s.apply_async()

    e("stamp-append")(stamp_append)

    def w(sig: Any, args: Any = (), **o: Any) -> Any:
        """as a worker: the frozen form, through JSON"""
        sig.freeze()
        d = json.loads(json.dumps(sig))
        return maybe_signature(d, app=app).apply_async(args, **o)

    step: dict[str, Any] = {"root_id": "ROOT", "parent_id": "PARENT"}

    def rest() -> list[Any]:
        s = cb.s(9)
        s.freeze()
        return [json.loads(json.dumps(s))]

    def pend(c: Any) -> list[Any]:
        """embed.chain of the message that c would send"""
        sent()
        c.apply_async()
        found: list[Any] = sent()[0].embed["chain"]
        return found

    def cont(c: Any, args: Any = (5,)) -> Any:
        p = pend(c)
        return maybe_signature(p[-1], app=app).apply_async(
            args, chain=p[:-1], priority=None, **step
        )

    e("set-prio-none")(lambda: add.s(1, 1).set(priority=3).apply_async(priority=None))
    e("apply-merge")(
        lambda: (
            add.s(1)
            .set(priority=3, queue="a", headers={"x": 1})
            .apply_async((0,), {}, queue="b", headers={"y": 1})
        )
    )
    e("apply-immutable")(
        lambda: add.si(1, 1).set(priority=3).apply_async((0,), {"k": 1}, priority=4)
    )
    e("chain-ids")(lambda: (add.s(1, 1) | add.s(2) | add.s(3)).apply_async(**step))
    e("group-ids")(lambda: group(add.s(1, 1), add.s(2, 2)).apply_async(**step))
    e("group-task-id")(lambda: group(add.s(1, 1), add.s(2, 2)).apply_async(task_id="GID"))
    e("chord-ids")(lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s()).apply_async(**step))
    e("chord-ids-chain")(
        lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s()).apply_async(chain=rest(), **step)
    )
    e("chord-ids-chain-prio")(
        lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s()).apply_async(
            chain=rest(), priority=None, **step
        )
    )
    e("w-task")(lambda: w(add.s(1), (2,), chain=[], priority=None, **step))
    e("w-task-rest")(lambda: w(add.s(1), (2,), chain=rest(), **step))
    e("w-group")(lambda: w(group(add.s(1), add.s(2)), (2,), chain=[], priority=None, **step))
    e("w-group-rest")(
        lambda: w(group(add.s(1), add.s(2)), (2,), chain=rest(), priority=None, **step)
    )
    e("w-chord")(
        lambda: w(chord([add.s(1), add.s(2)], tsum.s()), (2,), chain=[], priority=None, **step)
    )
    e("w-chord-rest")(
        lambda: w(chord([add.s(1), add.s(2)], tsum.s()), (2,), chain=rest(), priority=None, **step)
    )
    e("w-chain")(lambda: w(chain(add.s(1), add.s(2)), (2,), chain=rest(), priority=None, **step))
    e("w-chord-groupbody")(
        lambda: w(
            chord([add.s(1), add.s(2)], group(cb.s(1), cb.s(2))),
            (2,),
            chain=rest(),
            priority=None,
            **step,
        )
    )
    e("w-chord-chainbody")(
        lambda: w(
            chord([add.s(1), add.s(2)], tsum.s() | add.s(4)),
            (2,),
            chain=rest(),
            priority=None,
            **step,
        )
    )
    e("w-chord-chainheader")(
        lambda: w(
            chord([add.s(1) | add.s(2), add.s(2)], tsum.s()),
            (2,),
            chain=rest(),
            priority=None,
            **step,
        )
    )
    e("w-link-group")(
        lambda: group(
            [json.loads(json.dumps(cb.s(1))), json.loads(json.dumps(cb.s(2)))], app=app
        ).apply_async((7,), **step)
    )
    e("c-task-group")(lambda: cont(add.s(1, 1) | group(add.s(2), add.s(3))))
    e("c-task-group-task")(lambda: cont(add.s(1, 1) | group(add.s(2), add.s(3)) | tsum.s()))
    e("c-task-group-task-task")(
        lambda: cont(add.s(1, 1) | group(add.s(2), add.s(3)) | tsum.s() | add.s(9))
    )
    e("c-task-group-group")(
        lambda: cont(one.s(1) | group(add.s(1), add.s(2)) | group(cb.s(1), cb.s(2)))
    )
    e("c-task-group-group-task")(
        lambda: cont(one.s(1) | group(add.s(1), add.s(2)) | group(cb.s(1), cb.s(2)) | cb.s(3))
    )
    e("c-chord-in-header")(
        lambda: cont(
            one.s(1) | chord([chord([add.s(1), add.s(2)], tsum.s()), add.s(3)], tsum.s()) | add.s(9)
        )
    )
    e("c-chain-in-group")(
        lambda: cont(add.s(1, 1) | group(add.s(2) | add.s(3), add.s(4)) | tsum.s())
    )
    e("c-group-of-chain-group")(
        lambda: cont(add.s(1, 1) | group(add.s(2) | group(add.s(3), add.s(5)), add.s(4)) | cb.s())
    )
    e("mixed-1")(lambda: ((chord([add.s(1, 1)], tsum.s()) | add.s(1)) | (add.s(2) | add.s(3)))())
    e("mixed-2")(lambda: (chord([add.s(1, 1)], tsum.s()) | (add.s(2) | add.s(3)))())
    e("mixed-3")(lambda: (chord([add.s(1, 1)], tsum.s()) | group(add.s(2), add.s(3)))())
    e("mixed-4")(
        lambda: (
            add.s(1, 1) | group(add.s(1), add.s(2)) | group(cb.s(1), cb.s(2)) | cb.s(3) | cb.s(4)
        )()
    )
    e("mixed-5")(
        lambda: (
            add.s(1, 1)
            | (group(add.s(1), add.s(2)) | tsum.s())
            | (group(cb.s(1), cb.s(2)) | cb.s(3))
            | cb.s(4)
        )()
    )
    e("mixed-6")(lambda: chain(group(add.s(1, 1), add.s(2, 2)), group(cb.s(1), cb.s(2)), cb.s(3))())
    e("mixed-7")(
        lambda: (group(add.s(1, 1) | add.s(2), chord([add.s(3, 3)], tsum.s())) | tsum.s())()
    )
    e("mixed-8")(lambda: group(group(add.s(1, 1) | add.s(2), group(add.s(3, 3))), add.s(4, 4))())
    e("mixed-9")(
        lambda: chord([group(add.s(1, 1)), group(add.s(2, 2), add.s(3, 3)) | tsum.s()], cb.s())()
    )
    e("mixed-10")(
        lambda: chain(add.s(1, 1), chain(group(add.s(2), add.s(3)), tsum.s()), add.s(4))()
    )

    def linked_group_in_chain() -> Any:
        g = group(add.s(2), add.s(3))
        c = add.s(1, 1) | g
        c.link_error(err.s())
        c.link(cb.s())
        return c.apply_async()

    e("chain-group-links")(linked_group_in_chain)

    def linked_chord_in_chain() -> Any:
        c = add.s(1, 1) | group(add.s(2), add.s(3)) | tsum.s()
        c.link_error(err.s())
        c.link(cb.s())
        return c.apply_async()

    e("chain-chord-links")(linked_chord_in_chain)

    def linked_group_chord() -> Any:
        c = group(add.s(1, 1), add.s(2, 2)) | tsum.s() | add.s(3)
        c.link_error(err.s())
        c.link(cb.s())
        return c.apply_async()

    e("chord-chain-links")(linked_group_chord)
    e("group-apply-link-error")(
        lambda: chord([add.s(1, 1), add.s(2, 2)], tsum.s()).apply_async(
            link_error=err.s(), link=cb.s()
        )
    )
    e("group-in-group-apply")(
        lambda: group(add.s(1, 1), group(add.s(2, 2), group(add.s(3, 3)))).apply_async(**step)
    )
    e("send-chain-unregistered")(
        lambda: (signature("un.a", (1,)) | signature("un.b")).apply_async()
    )
    e("chain-countdown")(
        lambda: (add.s(1, 1) | add.s(2)).apply_async(countdown=100, priority=1, shadow="x")
    )
    e("chord-countdown")(
        lambda: chord([add.s(1, 1)], tsum.s()).apply_async(
            countdown=100, time_limit=4, headers={"a": 1}
        )
    )
    e("group-set-queue")(
        lambda: group(add.s(1, 1), add.s(2, 2)).set(queue="g", priority=2).apply_async()
    )
    e("chord-set-queue")(
        lambda: chord([add.s(1, 1)], tsum.s()).set(queue="g", priority=2).apply_async()
    )
    e("chord-kwargs")(lambda: chord([add.s(1, y=1), add.s(2)], tsum.s()).apply_async((), {"y": 4}))
    e("map-opts")(lambda: add.map([1, 2]).set(queue="m").apply_async(priority=1))
    e("chunks-opts")(
        lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2).set(queue="m").apply_async(priority=1)
    )
    e("starmap-in-group")(lambda: group(add.starmap([(1, 2)]), add.s(1, 1))())
    e("chunks-in-chain-end")(lambda: (one.s(1) | add.chunks([(1, 1), (2, 2)], 1))())
    e("chunks-chain-start")(lambda: (add.chunks([(1, 1), (2, 2)], 1) | tsum.s())())
    e("chunks-chord")(lambda: chord(add.chunks([(1, 1), (2, 2)], 1).group(), tsum.s())())
    return made


def forms(n: dict[str, Any]) -> dict[str, Any]:
    """Return signatures by name."""
    add, tsum, cb, mul = (n[k] for k in ("add", "tsum", "cb", "mul"))
    return {
        "s": add.s(1, 2),
        "si": add.si(1, x=2),
        "sig-opts": add.signature((1,), {"y": 2}, queue="q", countdown=3),
        "chain": add.s(1, 2) | add.s(3),
        "chain1": chain(add.s(1)),
        "group": group(add.s(1, 1), mul.s(2, 2)),
        "chord": chord([add.s(1, 1)], tsum.s()),
        "chain+link": (add.s(1, 2) | add.s(3)),
        "mixed": add.s(1) | group(mul.s(1), mul.s(2)) | tsum.s(),
        "map": add.map([1]),
        "starmap": add.starmap([(1, 2)]),
        "chunks": add.chunks([(1, 2), (3, 4)], 1),
        "clone": add.s(1, 2).clone((0,), {"z": 1}, queue="x"),
        "replace": add.s(1, 2).replace(args=(9,), options={"queue": "k"}),
        "set": add.s(1).set(immutable=True, priority=2, link=cb.s()),
        "chainchain": (add.s(1, 2) | add.s(3)) | (add.s(4) | add.s(5)),
        "chain|group": (add.s(1, 2) | add.s(3)) | group(add.s(4), add.s(5)),
        "chain|group|t": (add.s(1, 2) | add.s(3)) | group(add.s(4), add.s(5)) | tsum.s(),
        "group|chain": group(add.s(1, 1), add.s(2, 2)) | (tsum.s() | add.s(5)),
        "group|group": group(add.s(1, 1)) | group(add.s(2), add.s(3)),
        "group2|group": group(add.s(1, 1), add.s(4, 4)) | group(add.s(2), add.s(3)),
        "chord|t": chord([add.s(1, 1)], tsum.s()) | add.s(1),
        "chord|chain": chord([add.s(1, 1)], tsum.s()) | (add.s(1) | add.s(2)),
        "chord|group": chord([add.s(1, 1)], tsum.s()) | group(add.s(1), add.s(2)),
        "chord|chord": chord([add.s(1, 1)], tsum.s()) | chord([add.s(1)], tsum.s()),
        "t|chord": add.s(1, 1) | chord([add.s(1)], tsum.s()),
        "t|chord|t": add.s(1, 1) | chord([add.s(1)], tsum.s()) | add.s(7),
        "chain|chord": (add.s(1, 1) | add.s(2)) | chord([add.s(1)], tsum.s()),
        "chain(group,chord)": chain(group(add.s(1, 1), add.s(2, 2)), chord([add.s(1)], tsum.s())),
        "chain(t,group,t)": chain(add.s(1, 1), group(add.s(2), add.s(3)), tsum.s()),
        "chain(list)": chain([add.s(1, 1), add.s(2)]),
        "group(group)": group(group(add.s(1, 1)), add.s(2, 2)),
        "group1|t": group(add.s(1, 1)) | add.s(3),
        "t|group1": add.s(1, 1) | group(add.s(3)),
        "map|t": add.map([1]) | tsum.s(),
        "chunks|t": add.chunks([(1, 2), (3, 4)], 1) | tsum.s(),
        "t|starmap": add.s(1, 1) | add.starmap([(1, 2)]),
        "chain|t-set": (add.s(1, 2) | add.s(3)).set(queue="z") | add.s(4),
        "group()": group(),
        "chord[]": chord([], tsum.s()),
        "chord(group)": chord(group(add.s(1, 1), add.s(2, 2)), tsum.s()),
        "chord(nobody)": chord([add.s(1, 1)]),
        "chord(chain)": chord(add.s(1, 1) | add.s(2), tsum.s()),
    }
