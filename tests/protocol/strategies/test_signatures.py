"""Generated signatures are legal, and stay what they are."""

from __future__ import annotations

from hypothesis import given

from celeriac_protocol.signature import SIGNATURE_KEYS, check_signature, normalize
from celeriac_protocol.strategies import SignatureDict, plain_signatures, signatures, workflows


@given(signatures())
def test_every_generated_signature_is_legal(signature: SignatureDict) -> None:
    assert check_signature(signature, "signature") is signature


@given(signatures())
def test_a_complete_signature_is_normal_already(signature: SignatureDict) -> None:
    assert normalize(signature) == signature
    assert tuple(normalize(signature)) == SIGNATURE_KEYS


@given(plain_signatures())
def test_a_plain_signature_holds_no_other(signature: SignatureDict) -> None:
    options = signature["options"]
    assert isinstance(options, dict)
    assert options.keys().isdisjoint({"link", "link_error", "chain", "chord"})


@given(workflows())
def test_a_workflow_is_a_call_of_a_builtin_task(signature: SignatureDict) -> None:
    assert str(signature["task"]).startswith("celery.")
