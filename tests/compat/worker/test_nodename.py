from __future__ import annotations

import pytest

from celeriac.worker.nodename import node_name

HOST = "box.example.org"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "celery@box.example.org"),
        ("w1@%h", "w1@box.example.org"),
        ("w1@", "w1@box.example.org"),
        ("@there", "celery@there"),
        ("w1", "celery@w1"),
        ("w1@%n", "w1@box"),
        ("w1@%d", "w1@example.org"),
        ("100%%@x", "100%@x"),
    ],
)
def test_node_names_are_completed_as_celery_does(given: str | None, expected: str) -> None:
    assert node_name(given, HOST) == expected


def test_an_unknown_expansion_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="%z"):
        node_name("w%z@h", HOST)
