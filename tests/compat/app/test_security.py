"""Set-up of signed messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from celeriac.app.app import Celery
from celeriac_protocol.serializers import unregister


@pytest.fixture(autouse=True)
def _unsigned_afterwards() -> Iterator[None]:
    yield
    unregister("auth")


def write_key_and_certificate(folder: Path) -> tuple[str, str]:
    """Write a key and its self-signed certificate, and return their paths."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "signer.key", folder / "signer.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(key_file), str(certificate_file)


def test_serializers_that_stay_enabled_do_not_let_unsigned_messages_in(tmp_path: Path) -> None:
    key, certificate = write_key_and_certificate(tmp_path)
    app = Celery("signed", set_as_current=False)
    app.conf.task_serializer = "auth"
    app.setup_security(
        allowed_serializers=["json"], key=key, cert=certificate, store=str(tmp_path / "*.pem")
    )
    assert app.conf.accept_content == ["auth"]
