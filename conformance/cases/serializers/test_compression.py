"""Compressed bodies."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

METHODS = ("gzip", "zlib", "bzip2", "lzma", "zstd", "brotli")


@case("compression/{method}", spec="task-message#6.4", each={"method": METHODS})
def test_a_compressed_body_is_read(exchange: Exchange, method: str) -> None:
    call = exchange.producer.send("echo", ["Grüße " * 1000], compression=method)
    assert exchange.producer.result(call) == "Grüße " * 1000


@case("compression/of-binary-bodies", spec="task-message#6.4")
def test_compression_goes_with_a_binary_serializer(exchange: Exchange) -> None:
    call = exchange.producer.send("echo", [[1, "two"]], serializer="msgpack", compression="gzip")
    assert exchange.producer.result(call) == [1, "two"]


@case("compression/large-body", spec="task-message#6.4")
def test_a_body_that_compresses_well_is_read_whole(exchange: Exchange) -> None:
    call = exchange.producer.send("measure", ["x" * 5_000_000], compression="zlib")
    assert exchange.producer.result(call) == 5_000_000


@case("compression/kept-on-retry", spec="results-and-workflows#5")
def test_a_compressed_call_can_be_retried(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], compression="gzip")
    assert exchange.producer.result(call) == 1
