"""What the broker tests share."""

from __future__ import annotations

import selectors
import time
import uuid
from collections.abc import Callable
from typing import Any

from kombu import entity

from celeriac.brokers.base import Broker, BrokerLostError, Delivery, Publisher
from celeriac_protocol.message import Message, Properties

PATIENCE_S = 30.0

Exchange: Any = entity.Exchange
Queue: Any = entity.Queue


def a_message(number: int = 1, **properties: Any) -> Message:
    """A small task message whose id is `number`."""
    given: dict[str, Any] = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": str(number),
        "reply_to": "reply",
        "delivery_mode": 2,
        "priority": 0,
        **properties,
    }
    return Message(
        headers={"task": "t.add", "id": str(number), "eta": None, "timelimit": [None, None]},
        properties=Properties(**given),
        body=b'[[2, 3], {}, {"callbacks": null}]',
    )


def a_queue(name: str | None = None, **options: Any) -> Any:
    """A direct queue of its own exchange."""
    name = name or f"q-{uuid.uuid4().hex[:8]}"
    return Queue(name, Exchange(name), routing_key=name, **options)


def send(publisher: Publisher, queue: Any, *numbers: int, **properties: Any) -> None:
    """Publish small messages to a queue."""
    for number in numbers:
        publisher.publish(a_message(number, **properties), routing_key=queue.name, declare=[queue])


def wait_for(broker: Broker, condition: Callable[[], bool], collect: list[Delivery]) -> None:
    """Turn as the worker's loop does until `condition` holds; deliveries go to `collect`."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"never happened; got {collect}"
        got = broker.fetch(100)
        collect += got
        if got:
            continue
        wait_s = 0.5 if broker.poll_interval_s is None else min(broker.poll_interval_s, 0.02)
        with selectors.DefaultSelector() as selector:
            for fd in broker.filenos():
                selector.register(fd, selectors.EVENT_READ)
            selector.select(wait_s)


def receive(broker: Broker, count: int) -> list[Delivery]:
    """Fetch until there are `count` deliveries."""
    got: list[Delivery] = []
    wait_for(broker, lambda: len(got) >= count, got)
    assert len(got) == count
    return got


def nothing_comes(broker: Broker, turns: int = 5) -> None:
    """Turn a few times and see nothing."""
    for _ in range(turns):
        assert broker.fetch(100) == []
        time.sleep(0.01)


def wait_for_loss(call: Callable[[], object]) -> None:
    """Call until it says that the connection is lost."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            call()
        except BrokerLostError:
            return
        time.sleep(0.02)
    raise AssertionError("the loss went unnoticed")


def ids(deliveries: list[Delivery]) -> list[str]:
    """The ids of task messages, in order."""
    return [str(delivery.message.headers["id"]) for delivery in deliveries]


def tags(deliveries: list[Delivery]) -> list[Any]:
    """The tags, in order."""
    return [delivery.tag for delivery in deliveries]
