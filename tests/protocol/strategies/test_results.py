"""Result documents and the forms inside them: one trip through their dict form changes nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.result import (
    EXCEPTION_STATES,
    ExceptionForm,
    ResultMeta,
    ResultNode,
    read_exception,
    read_result_tuple,
)
from celeriac_protocol.serializers import accept_set, dumps, loads
from celeriac_protocol.strategies import exception_forms, json_values, result_metas, result_nodes

JSON = accept_set(["json"])


def trip(value: object) -> object:
    encoded = dumps(value)
    return loads(encoded.data, encoded.content_type, encoded.content_encoding, JSON)


@given(result_metas())
def test_a_document_is_read_as_it_was_written(meta: ResultMeta) -> None:
    assert ResultMeta.from_dict(trip(meta.to_dict())) == meta


@given(result_metas(states=st.sampled_from(sorted(EXCEPTION_STATES))))
def test_a_document_of_a_failure_always_holds_an_exception(meta: ResultMeta) -> None:
    assert read_exception(meta.result).exc_type


@given(exception_forms())
def test_an_exception_is_read_as_it_was_written(form: ExceptionForm) -> None:
    assert read_exception(trip(form.to_dict())) == form


@given(result_nodes())
def test_a_tuple_form_is_read_as_it_was_written(node: ResultNode) -> None:
    assert read_result_tuple(trip(node.to_list())) == node


@given(json_values())
def test_any_value_is_a_document_or_refused(value: object) -> None:
    for read in (ResultMeta.from_dict, read_result_tuple, read_exception):
        try:
            found: object = read(value)
        except RemoteProtocolError as error:
            found = error
        assert isinstance(found, ResultMeta | ResultNode | ExceptionForm | RemoteProtocolError)
