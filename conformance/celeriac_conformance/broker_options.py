"""Command-line options that aim the cases at a broker somebody else runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac_conformance.environments import Environments
from celeriac_conformance.runtimes.base import CannotSetUpError
from celeriac_conformance.runtimes.given import GivenBrokerRuntime

__all__ = ["add_broker_options", "open_given_broker"]


def add_broker_options(options: pytest.OptionGroup) -> None:
    """Add them."""
    options.addoption(
        "--broker-url",
        default=None,
        metavar="URL",
        help="run against this broker (redis:// or amqp://) instead of ones of our own",
    )
    options.addoption(
        "--backend-url",
        default=None,
        metavar="URL",
        help="with --broker-url: store results in this Redis (default: the broker, if it is one)",
    )
    options.addoption(
        "--management-url",
        default=None,
        metavar="URL",
        help="with --broker-url amqp://…: RabbitMQ's management plugin (default: port 15672 of the broker)",
    )
    options.addoption(
        "--allow-flush",
        action="store_true",
        help="with --broker-url: empty the database it names, or delete the queues in the way",
    )


def open_given_broker(
    config: pytest.Config, environments: Environments, progress: Callable[[str], None]
) -> GivenBrokerRuntime | None:
    """Return the runtime of a given broker, or None when none is given.

    Raises:
        pytest.UsageError: The options make no sense together, or a broker cannot be reached.
    """
    url = config.getoption("--broker-url")
    if url is None:
        for name in ("--backend-url", "--management-url"):
            if config.getoption(name):
                raise pytest.UsageError(f"{name} goes with --broker-url")
        return None
    if config.getoption("--runtime") != "process":
        raise pytest.UsageError("--broker-url goes with --runtime process")
    try:
        return GivenBrokerRuntime(
            environments,
            progress,
            url,
            backend_url=config.getoption("--backend-url"),
            management_url=config.getoption("--management-url"),
            may_flush=config.getoption("--allow-flush"),
        )
    except (ValueError, CannotSetUpError) as error:
        raise pytest.UsageError(f"--broker-url: {error}") from error
