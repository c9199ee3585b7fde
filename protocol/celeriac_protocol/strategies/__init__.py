"""Hypothesis strategies for everything the protocol carries; install with ``celeriac[hypothesis]``.

Each is a plural-named function that returns a strategy; an argument that users will vary is itself a strategy::

    from hypothesis import given, strategies as st
    from celeriac_protocol.strategies import task_messages

    @given(task_messages(names=st.just("shop.add"), args=st.tuples(st.integers(), st.integers()).map(list)))
    def test_my_consumer(task): ...
"""

from __future__ import annotations

from celeriac_protocol.strategies.broken import (
    Broken,
    arbitrary_messages,
    broken_messages,
    mutated_messages,
)
from celeriac_protocol.strategies.control import commands, replies
from celeriac_protocol.strategies.envelopes import (
    BrokenEnvelope,
    broken_envelopes,
    envelopes,
    mutated_envelopes,
)
from celeriac_protocol.strategies.events import events
from celeriac_protocol.strategies.messages import (
    embeds,
    messages,
    properties,
    task_headers,
    task_messages,
    time_limits,
)
from celeriac_protocol.strategies.results import exception_forms, result_metas, result_nodes
from celeriac_protocol.strategies.signatures import (
    SignatureDict,
    plain_signatures,
    signature_options,
    signatures,
    workflows,
)
from celeriac_protocol.strategies.values import (
    arguments,
    host_names,
    instants,
    iso_times,
    json_scalars,
    json_values,
    keyword_arguments,
    keywords,
    node_names,
    task_ids,
    task_names,
    typed_values,
    uuids,
)

__all__ = [
    "Broken",
    "BrokenEnvelope",
    "SignatureDict",
    "arbitrary_messages",
    "arguments",
    "broken_envelopes",
    "broken_messages",
    "commands",
    "embeds",
    "envelopes",
    "events",
    "exception_forms",
    "host_names",
    "instants",
    "iso_times",
    "json_scalars",
    "json_values",
    "keyword_arguments",
    "keywords",
    "messages",
    "mutated_envelopes",
    "mutated_messages",
    "node_names",
    "plain_signatures",
    "properties",
    "replies",
    "result_metas",
    "result_nodes",
    "signature_options",
    "signatures",
    "task_headers",
    "task_ids",
    "task_messages",
    "task_names",
    "time_limits",
    "typed_values",
    "uuids",
    "workflows",
]
