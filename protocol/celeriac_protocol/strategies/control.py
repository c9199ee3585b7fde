"""Remote control: requests to workers and their replies."""

from __future__ import annotations

from hypothesis import strategies as st

from celeriac_protocol.control import (
    COMMANDS,
    Argument,
    Command,
    CommandType,
    Reply,
    ReplyTo,
    error,
    ok,
)
from celeriac_protocol.strategies.values import json_scalars, json_values, node_names, uuids

__all__ = ["commands", "replies"]

_CLOCKS = st.none() | st.integers(0, 2**40)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_BY_TYPE: dict[str, st.SearchStrategy[object]] = {
    "str": _TEXT,
    "int": st.integers(0, 1000),
    "float": st.floats(0, 1e6),
    "bool": st.booleans(),
    "any": json_values(max_leaves=3),
}


def _argument(argument: Argument) -> st.SearchStrategy[object]:
    value = _BY_TYPE[argument.type]
    return st.lists(value, max_size=3) if argument.many else value


def _arguments(command: CommandType) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {item.name: _argument(item) for item in command.arguments if item.required},
        optional={item.name: _argument(item) for item in command.arguments if not item.required},
    )


_ARGUMENTS = {name: _arguments(command) for name, command in COMMANDS.items()}


def commands(
    *,
    methods: st.SearchStrategy[str] = st.sampled_from(sorted(COMMANDS)),
    nodes: st.SearchStrategy[str] = node_names(),
) -> st.SearchStrategy[Command]:
    """Requests with arguments of the right types.

    Args:
        methods: Names out of `COMMANDS`.
        nodes: Names of the workers addressed.
    """

    def of(method: str) -> st.SearchStrategy[Command]:
        return st.builds(
            Command,
            method=st.just(method),
            arguments=_ARGUMENTS[method],
            destination=st.none() | st.lists(nodes, min_size=1, max_size=2).map(tuple),
            pattern=st.none() | st.just("celery@*"),
            matcher=st.sampled_from([None, "glob", "pcre"]),
            clock=_CLOCKS,
            expires=st.none() | st.floats(0, 4e9),
        )

    def ask(command: Command, ticket: str, reply_to: ReplyTo | None) -> Command:
        return Command(
            method=command.method,
            arguments=command.arguments,
            destination=command.destination,
            pattern=command.pattern,
            matcher=command.matcher,
            # Without somewhere to send a reply there is no ticket on the wire.
            ticket=ticket if reply_to else None,
            reply_to=reply_to,
            clock=command.clock,
            expires=command.expires,
        )

    answers = st.none() | st.builds(ReplyTo, st.just("reply.celery.pidbox"), uuids())
    return st.builds(ask, methods.flatmap(of), uuids(), answers)


def replies(
    *,
    nodes: st.SearchStrategy[str] = node_names(),
    values: st.SearchStrategy[object] = json_values(max_leaves=4),
) -> st.SearchStrategy[Reply]:
    """Answers: done, refused, or the bare value of an inspection.

    Args:
        nodes: Names of the workers.
        values: What the commands return.
    """
    return st.builds(
        Reply,
        node=nodes,
        value=values.map(ok) | _TEXT.map(error) | json_scalars(),
        ticket=st.none() | uuids(),
        clock=_CLOCKS,
        expires=st.none() | st.floats(0, 4e9),
    )
