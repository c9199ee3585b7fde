"""Signed messages: the `auth` serializer, with keys that each case makes for itself."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange, Producer
from celeriac_conformance.own_workers import serving

_SEPARATOR = b"\x00\x01"


def make_signer(folder: Path, name: str) -> dict[str, str]:
    """Write a key and a self-signed certificate; return the settings that name them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return {"security_key": str(key_file), "security_certificate": str(certificate_file)}


def signing(signer: dict[str, str], store: Path) -> dict[str, object]:
    """Return the settings of an app that signs, and trusts what is in `store`."""
    return {
        **signer,
        "security_cert_store": f"{store}/*.pem",
        "task_serializer": "auth",
        "accept_content": ["auth"],
        "result_accept_content": ["json"],
    }


@contextmanager
def signed(exchange: Exchange) -> Iterator[tuple[Producer, str, Path]]:
    """Run a worker that takes signed messages only; yield a producer it trusts, its queue, and its store."""
    store = exchange.marker()
    store.mkdir()
    settings = signing(make_signer(store, "trusted"), store)
    producer = exchange.producer_with(**settings)
    with serving(exchange, settings=settings, caller=producer) as queue:
        yield producer, queue, store


def check_refused(exchange: Exchange, producer: Producer, queue: str, task_id: str) -> None:
    """Make sure that a message was passed over, and that the worker goes on."""
    canary = producer.send("echo", ["alive"], queue=queue)
    assert producer.result(canary) == "alive"
    assert exchange.journal.runs(task_id) == []


@case("security/signed", spec="task-message#6.5", since="5.5")
def test_a_signed_message_is_read_and_what_it_calls_is_signed_too(exchange: Exchange) -> None:
    with signed(exchange) as (producer, queue, _):
        sent = producer.send("echo_all", [1, "ü"], {"key": [2]}, queue=queue)
        assert producer.result(sent) == {"args": [1, "ü"], "kwargs": {"key": [2]}}
        again = producer.send("retry_n", [1], queue=queue)
        assert producer.result(again) == 1
        assert len(exchange.journal.runs(again.id)) == 2


@case("security/form", spec="task-message#6.5 task-message#11.7", since="5.5")
def test_a_signed_body_has_five_fields(exchange: Exchange) -> None:
    store = exchange.marker()
    store.mkdir()
    producer = exchange.producer_with(**signing(make_signer(store, "form"), store))
    queue = f"signed-{store.name}"
    producer.send("echo", [1], queue=queue)
    exchange.eventually(lambda: exchange.broker.ready(queue) == 1, "it waits there")
    message = exchange.broker.take(queue)
    assert message is not None
    assert message.properties["content_type"] == "application/data"
    assert message.properties["content_encoding"] == "utf-8"
    signer, signature, kind, encoding, body = base64.b64decode(message.body).split(_SEPARATOR, 4)
    assert base64.b64decode(signer).startswith(b"form ")
    assert len(base64.b64decode(signature)) == 256
    assert (kind, encoding) == (b"application/json", b"utf-8")
    assert body.startswith(b"[[1], {}, {")


@case("security/refused", spec="task-message#6.5", since="5.5")
def test_messages_that_are_not_signed_by_a_trusted_key_are_refused(exchange: Exchange) -> None:
    with signed(exchange) as (producer, queue, store):
        plain = exchange.producer.send("echo", ["plain"], queue=queue)
        check_refused(exchange, producer, queue, plain.id)

        elsewhere = exchange.marker()
        elsewhere.mkdir()
        stranger = exchange.producer_with(**signing(make_signer(elsewhere, "stranger"), elsewhere))
        unknown = stranger.send("echo", ["stranger"], queue=queue)
        check_refused(exchange, producer, queue, unknown.id)

        spare = f"spare-{store.name}"
        forged = producer.send("echo", ["original"], queue=spare)
        exchange.eventually(lambda: exchange.broker.ready(spare) == 1, "it waits there")
        message: Any = exchange.broker.take(spare)
        changed = base64.b64decode(message.body).replace(b"original", b"modified")
        exchange.broker.push(queue, replace(message, body=base64.b64encode(changed)))
        check_refused(exchange, producer, queue, forged.id)
