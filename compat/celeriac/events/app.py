"""`app.events`: receivers, dispatchers and the state of a cluster, of one app. Spec: app-and-cli#3.2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

__all__ = ["Events"]


class Events:
    """Classes bound to an app.

    Args:
        app: The app.
    """

    receiver_cls: Any = "celeriac.events.receiver:EventReceiver"
    dispatcher_cls: Any = "celeriac.events.dispatcher:EventDispatcher"
    state_cls: Any = "celeriac.events.cluster_state:State"

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @cached_property
    def Receiver(self) -> Any:  # noqa: N802 - the public name
        """`EventReceiver` of this app."""
        return self.app.subclass_with_self(self.receiver_cls, reverse="events.Receiver")

    @cached_property
    def Dispatcher(self) -> Any:  # noqa: N802 - the public name
        """`EventDispatcher` of this app."""
        return self.app.subclass_with_self(self.dispatcher_cls, reverse="events.Dispatcher")

    @cached_property
    def State(self) -> Any:  # noqa: N802 - the public name
        """`State` of this app."""
        return self.app.subclass_with_self(self.state_cls, reverse="events.State")

    @contextmanager
    def default_dispatcher(
        self,
        hostname: str | None = None,
        enabled: bool = True,
        buffer_while_offline: bool = False,
    ) -> Iterator[Any]:
        """Yield a dispatcher that sends through the app's pool of producers."""
        with (
            self.app.producer_pool.acquire(block=True) as producer,
            self.Dispatcher(
                producer.connection,
                hostname,
                enabled,
                producer.channel,
                buffer_while_offline,
            ) as dispatcher,
        ):
            yield dispatcher
