"""The last step of publishing: signals, serializer, compression, broker. Spec: task-message#2, #3, #6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kombu import Queue  # type: ignore[attr-defined]
from kombu.exceptions import EncodeError, SerializerNotInstalled

from celeriac import signals
from celeriac.canvas.signature import Signature
from celeriac_protocol.compression import compress
from celeriac_protocol.errors import EncodeError as BodyEncodeError
from celeriac_protocol.errors import LocalProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import dumps
from celeriac_protocol.task.headers import header_table
from celeriac_protocol.task.model import Embed, TaskMessage
from celeriac_protocol.task.v1 import body_dict
from celeriac_protocol.task.v2 import body_list

if TYPE_CHECKING:
    from celeriac.app.app import Celery
    from celeriac.app.routing import Target
    from celeriac.brokers.base import Publisher

__all__ = ["BASIC_PROPERTIES", "listed", "send", "taken", "tell_sent"]

BASIC_PROPERTIES = ("message_id", "timestamp", "type", "user_id", "app_id", "cluster_id")
"""Basic properties that only a caller sets."""


def taken(options: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Remove `names` from `options`; return those that have a value."""
    found = {}
    for name in names:
        if (value := options.pop(name, None)) is not None:
            found[name] = value
    return found


def listed(value: Any) -> list[Any] | None:
    """Return a signature, a list of them or nothing as a list or `None`."""
    if value is None:
        return None
    return list(value) if isinstance(value, list | tuple) else [value]


def send(
    call: TaskMessage,
    properties: Properties,
    target: Target,
    *,
    protocol: int,
    serializer: str,
    compression: str | None,
    publisher: Publisher,
    retry: bool,
    retry_policy: Mapping[str, Any],
    publish_options: Mapping[str, Any],
) -> None:
    """Serialize and publish one call.

    Args:
        call: Headers, arguments and embed.
        properties: Made for this message alone; the content type is written into it.
        target: Where to.
        protocol: 1 or 2.
        serializer: Alias.
        compression: Method, or nothing.
        publisher: What to send through.
        retry: Publish again on connection errors.
        retry_policy: How, by kombu's keys.
        publish_options: `mandatory` and such.

    Raises:
        kombu.exceptions.EncodeError: The body cannot be encoded; nothing was sent.
        kombu.exceptions.SerializerNotInstalled: Unknown serializer.
        KeyError: Unknown compression.
        kombu.exceptions.OperationalError: The broker could not be reached within the retry policy.
    """
    name = call.headers.task
    body: Any
    if protocol == 1:
        headers, body = dict(call.headers.custom), body_dict(_with_chain_as_links(call))
    else:
        headers, body = header_table(call.headers, None), body_list(call)
    if signals.before_task_publish.receivers:
        properties = _announce(name, headers, body, properties, target, retry_policy)
    try:
        encoded = dumps(body if serializer == "json" else _plain(body), serializer)
    except BodyEncodeError as exc:
        raise EncodeError(str(exc)) from exc
    except LocalProtocolError as exc:
        raise SerializerNotInstalled(f"No encoder installed for {serializer}") from exc
    data = encoded.data
    if compression:
        headers.pop("compression", None)
        try:
            headers["compression"], data = compress(data, compression)
        except LocalProtocolError as exc:
            raise KeyError(compression) from exc
    _set(properties, "content_type", encoded.content_type)
    _set(properties, "content_encoding", encoded.content_encoding)
    publisher.publish(
        Message(headers, properties, data),
        exchange=target.exchange,
        routing_key=target.routing_key,
        declare=target.declare,
        retry=retry,
        retry_policy=retry_policy,
        options=publish_options,
    )
    if signals.after_task_publish.receivers:
        signals.after_task_publish.send(
            sender=name,
            body=body,
            headers=headers,
            exchange=target.exchange,
            routing_key=target.routing_key,
        )
    if signals.task_sent.receivers:
        signals.task_sent.send(
            sender=name,
            task_id=call.headers.id,
            task=name,
            args=call.args,
            kwargs=call.kwargs,
            eta=call.headers.eta,
            taskset=call.headers.group,
        )


def tell_sent(
    app: Celery,
    call: TaskMessage,
    target: Target,
    *,
    protocol: int,
    retry: bool | None,
    retry_policy: Mapping[str, Any],
) -> None:
    """Send the event ``task-sent``. Spec: control-and-events#2.4."""
    headers = call.headers
    exchange = getattr(target.exchange, "name", target.exchange) or ""
    queue = next((each.name for each in target.declare if isinstance(each, Queue)), None)
    family = {} if protocol == 1 else {"root_id": headers.root_id, "parent_id": headers.parent_id}
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send(
            "task-sent",
            uuid=headers.id,
            **family,
            name=headers.task,
            args=headers.argsrepr,
            kwargs=headers.kwargsrepr,
            retries=headers.retries,
            eta=headers.eta,
            expires=headers.expires,
            queue=queue or target.routing_key,
            exchange=exchange,
            routing_key=target.routing_key,
            retry=app.conf.task_publish_retry if retry is None else retry,
            retry_policy=retry_policy,
        )


def _plain(value: Any) -> Any:
    """Return `value` with signatures as dicts: pickle would name our class, and YAML write none at all."""
    if isinstance(value, Signature):
        return {key: _plain(item) for key, item in value.items()}
    kind = type(value)
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(_plain(item) for item in value)
    return value


# `properties` was made by `publish_task` for this one message; nobody else holds it yet, and a copy of a frozen
# dataclass costs more than the rest of this module together.
_set = object.__setattr__


def _announce(
    name: str,
    headers: dict[str, Any],
    body: Any,
    properties: Properties,
    target: Target,
    retry_policy: Mapping[str, Any],
) -> Properties:
    """Let receivers of `before_task_publish` edit headers and properties; return the properties to send."""
    table: dict[str, Any] = {
        "correlation_id": properties.correlation_id,
        "reply_to": properties.reply_to,
        **{
            key: value
            for key in BASIC_PROPERTIES
            if (value := getattr(properties, key)) is not None
        },
        **properties.extra,
    }
    signals.before_task_publish.send(
        sender=name,
        body=body,
        exchange=target.exchange,
        routing_key=target.routing_key,
        declare=target.declare,
        headers=headers,
        properties=table,
        retry_policy=retry_policy,
    )
    fixed = {
        key: table.pop(key, getattr(properties, key))
        for key in ("delivery_mode", "priority", "expiration")
    }
    return Properties(
        correlation_id=table.pop("correlation_id", None),
        reply_to=table.pop("reply_to", None),
        **fixed,
        **taken(table, BASIC_PROPERTIES),
        extra=table,
    )


def _with_chain_as_links(call: TaskMessage) -> TaskMessage:
    """Return the call with the rest of its chain as nested callbacks: protocol 1 has no `chain`."""
    if not call.embed.chain:
        return call
    linked: Mapping[str, Any] | None = None
    for step in call.embed.chain:
        options: dict[str, Any] = dict(step.get("options") or {})  # type: ignore[call-overload]
        if linked is not None:
            options["link"] = [*(listed(options.get("link")) or ()), linked]
        linked = {**step, "options": options}
    embed = Embed(
        callbacks=[*(call.embed.callbacks or ()), linked] if linked else call.embed.callbacks,
        errbacks=call.embed.errbacks,
        chord=call.embed.chord,
    )
    return TaskMessage(
        headers=call.headers, args=call.args, kwargs=call.kwargs, embed=embed, utc=call.utc
    )
