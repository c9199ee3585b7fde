"""Signed bodies in both layouts, against one Celery 5.7.0 signed."""

from __future__ import annotations

import base64
import functools
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import (
    EncodeError,
    LocalProtocolError,
    RefusedContentError,
    RemoteProtocolError,
    UndecodableBodyError,
)
from celeriac_protocol.serializers import accept_set, dumps, loads, register, unregister
from celeriac_protocol.serializers.auth import LAYOUTS, SecureSerializer

SAMPLE = (
    b"V0ZnZ1JYaGhiWEJzWlNCalpXeGxjbmt0YzJsbmJpQXhNakEyT0RNeE1EUXhOelkwTlRrM01EYzRPREV3TVRnMU16UTJO"
    b"REUyTVRJNE5ESTJNVE0zTlRZeU16VTJNVGM9AAFsNEt2OUtxcnNmWm55RjRUSXRseU5sZXZZM2hDa0o4M2dnWDcxbjhW"
    b"UFBnUnJ0cUtoM0QxVVB2cHNpbHRxMmoxdVk1RzEzM2M1TVFLSEVXa2s4OUErYkZCdWk1UkFTK09mdDQwM2VXWFdoQlhn"
    b"dlMvMSt5bXEyblU1ZnlNYjVQUDdmamdFMzZRV0pGSUdhZ3M0ZXdjVjVWbjE1aUNpdEJlZ1FJWW9uRkE0MUg5MXNJTFgy"
    b"N1d0MFVtSS9QQVpyS0Z6aitFc0paMFhpVnBvditHUVhPNVgrMGhid0pGRStTdDZiUHFrVVp2azlnVlFBL3BiRnNDQU5x"
    b"WENvKzU4RVdRS1luZ3ltZWdTTTUwTXRRc0VpU1lTUUJVRmQyQjlScWRoVjU2UEtPeVExSFoyZjJON1I0enR4TE5QQXRv"
    b"N1Z4YjFXMnl3TW8zWU1RV0hwR3A0dHV4NkE9PQABYXBwbGljYXRpb24vanNvbgABdXRmLTgAAVtbMiwgM10sIHt9LCB7"
    b"ImNhbGxiYWNrcyI6IG51bGwsICJlcnJiYWNrcyI6IG51bGwsICJjaGFpbiI6IG51bGwsICJjaG9yZCI6IG51bGx9XQ=="
)
"""Spec: task-message#11.7."""

SAMPLE_CERTIFICATE = b"""-----BEGIN CERTIFICATE-----
MIIDSzCCAjOgAwIBAgIUFSOeF/9wzbl39aNwp0EB3TVNj2EwDQYJKoZIhvcNAQEL
BQAwNTELMAkGA1UEBhMCWFgxEDAOBgNVBAoMB0V4YW1wbGUxFDASBgNVBAMMC2Nl
bGVyeS1zaWduMB4XDTI2MTEyMjE3MTY1MFoXDTM2MTExOTE3MTY1MFowNTELMAkG
A1UEBhMCWFgxEDAOBgNVBAoMB0V4YW1wbGUxFDASBgNVBAMMC2NlbGVyeS1zaWdu
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4bA5SMrYnYanaXBn32g2
syWH3XWFBIMGNeAUYiQ95SHKqF0rA0juFPtL/exvrGFDGNffBGSOgYE7Ioqx9uEf
MoVW/KoWwgQRLC2z3q0fUBC9jTWrG0VBcGwnj6JkKQvp5oqQMk/19YpkXynZWFIn
7dcF32cOfh+jbY1lmu/wbbKrJuLtba36g5BiKSBAuhLkW5vXw4H50IDoN3Qmk/wE
+OBGp3gkU+gHRlyND5AoIaRAUBkJtIV++5iy3dYzaCK5OLt3nabTpWFWEqT7GBGT
7waWY0F6BzME0JDWyZ79YCWAa8/AkGxanhdbPcVvz/8DE8XeTO8VaLVJLsJu96gA
XwIDAQABo1MwUTAdBgNVHQ4EFgQUECAu4ss/Xv9Pec3AWIuMZsOUcJMwHwYDVR0j
BBgwFoAUECAu4ss/Xv9Pec3AWIuMZsOUcJMwDwYDVR0TAQH/BAUwAwEB/zANBgkq
hkiG9w0BAQsFAAOCAQEA0/fwLiOV3/Dcvu0+IKun4jvk5kc+CWLjF4GloA1HXlTp
jc0ZW0o8lRQUfJynggKInYPthH9Ai9UxYkQDU8LgVM0a8HxYLxZHvkVQwO8zLGtd
vb8WAyuSFuleXnRknZq6HWDA2Ra0NiSgTdOuk2szrlRiHoaSwJSO58/3QVy54ZVw
oF3eKarYoxHODwJyoy/UNf4HaH1dQN6SlDe9y4M1ZQyOnp9Z6+rJtxHchpR7htyF
WjaUIWjNUBOZ5BBNzXx7IbTd4GrrNlaaoCAlSKmZWo6+A5fG1or56+ISa4kT9OFj
wWkLvhExxiQgehyUFyEPR0bvCFm9mp1zOXFIPbAMQw==
-----END CERTIFICATE-----
"""

SEPARATOR = b"\x00\x01"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
CALL = [[2, 3], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


class Identity(NamedTuple):
    key: bytes
    certificate: bytes


def make_identity(name: str, *, elliptic: bool = False, password: bytes | None = None) -> Identity:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if elliptic
        else rsa.generate_private_key(65537, 2048)
    )
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(NOW - timedelta(1))
        .not_valid_after(NOW + timedelta(1))
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return Identity(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


ALICE = make_identity("alice")
BOB = make_identity("bob")


@functools.cache
def signer(
    identity: Identity = ALICE, digest: str = "sha256", inner: str = "json", layout: str = ">=5.5"
) -> SecureSerializer:
    return SecureSerializer(*identity, [identity.certificate], digest, inner, layout)


@functools.cache
def signed_payload(layout: str) -> bytes:
    return base64.b64decode(signer(layout=layout).dumps(CALL))


def test_the_captured_body_verifies() -> None:
    reader = SecureSerializer(None, None, [SAMPLE_CERTIFICATE])
    assert reader.loads(SAMPLE, "utf-8") == CALL


def test_the_captured_body_in_the_old_layout_verifies_too() -> None:
    fields = base64.b64decode(SAMPLE).split(SEPARATOR, 4)
    old = [base64.b64decode(fields[0]), base64.b64decode(fields[1]), *fields[2:]]
    reader = SecureSerializer(None, None, [SAMPLE_CERTIFICATE])
    assert reader.loads(base64.b64encode(SEPARATOR.join(old)), "utf-8") == CALL


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inner", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_a_signed_body_is_read_whatever_its_layout(layout: str, inner: str, digest: str) -> None:
    serializer = signer(layout=layout, inner=inner, digest=digest)
    reader = SecureSerializer(None, None, [BOB.certificate, ALICE.certificate], digest)
    assert list(reader.loads(serializer.dumps(CALL), "utf-8")) == CALL  # type: ignore[call-overload]


def test_the_new_layout_holds_base64_in_its_first_two_fields() -> None:
    fields = base64.b64decode(signer().dumps(CALL)).split(SEPARATOR, 4)
    assert base64.b64decode(fields[0]) == b"Example alice 4711"
    assert len(base64.b64decode(fields[1])) == 256
    assert fields[2:] == [b"application/json", b"utf-8", dumps(CALL).data]


def test_an_inner_body_may_hold_the_separator() -> None:
    for layout in LAYOUTS:
        serializer = signer(inner="msgpack", layout=layout)
        assert serializer.loads(serializer.dumps(SEPARATOR * 9), "utf-8") == SEPARATOR * 9


def test_many_old_signatures_are_read_wherever_they_hold_the_separator() -> None:
    # A signature is random: among 20 000 bytes a few hold the separator, now and then.
    serializer = signer(layout="<=5.4")
    for number in range(80):
        assert serializer.loads(serializer.dumps(number), "utf-8") == number


def test_through_the_registry_it_decides_about_application_data() -> None:
    register(signer())
    try:
        accepted = accept_set(["auth"])
        assert accepted == {"application/data"}
        encoded = dumps(CALL, "auth")
        assert encoded[:2] == ("application/data", "utf-8")
        assert loads(encoded.data, "application/data", "utf-8", accepted) == CALL
        with pytest.raises(UndecodableBodyError):
            loads(b"text", "application/data", "utf-8", accepted)
        with pytest.raises(RefusedContentError):
            loads(b"[]", "application/json", "utf-8", accepted)
        with pytest.raises(EncodeError):
            dumps(object(), "auth")
    finally:
        unregister("auth")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_body_of_someone_unknown_is_refused(layout: str) -> None:
    with pytest.raises(UndecodableBodyError, match="certificate store"):
        signer(ALICE).loads(signer(BOB, layout=layout).dumps(CALL), "utf-8")


def test_a_body_signed_with_another_digest_is_refused() -> None:
    with pytest.raises(UndecodableBodyError, match="signature"):
        signer(digest="sha256").loads(signer(digest="sha512").dumps(CALL), "utf-8")


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
def test_a_changed_body_is_refused(layout: str, data: st.DataObject) -> None:
    payload = bytearray(signed_payload(layout))
    position = data.draw(st.integers(len(payload) - 80, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UndecodableBodyError):
        signer().loads(base64.b64encode(payload), "utf-8")


@given(
    st.binary()
    | st.lists(st.binary(max_size=9), max_size=6).map(SEPARATOR.join).map(base64.b64encode)
)
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        signer().loads(data, "utf-8")


@given(st.integers(1, 384))
def test_a_cut_body_is_refused(cut: int) -> None:
    for layout in LAYOUTS:
        payload = signed_payload(layout)
        with pytest.raises(UndecodableBodyError):
            signer().loads(base64.b64encode(payload[:-cut]), "utf-8")


def test_a_reader_cannot_sign() -> None:
    with pytest.raises(LocalProtocolError):
        SecureSerializer(None, None, [ALICE.certificate]).dumps(CALL)


def test_an_encrypted_key_needs_its_password() -> None:
    carol = make_identity("carol", password=b"secret")
    with pytest.raises(LocalProtocolError, match="private key"):
        SecureSerializer(*carol, [])
    with pytest.raises(LocalProtocolError, match="private key"):
        SecureSerializer(*carol, [], key_password=b"wrong")
    serializer = SecureSerializer(*carol, [carol.certificate], key_password=b"secret")
    assert serializer.loads(serializer.dumps(CALL), "utf-8") == CALL


def test_an_expired_certificate_fails_when_it_is_loaded() -> None:
    SecureSerializer(*ALICE, [], now=NOW)
    with pytest.raises(LocalProtocolError, match="expired"):
        SecureSerializer(*ALICE, [], now=NOW + timedelta(2))
    with pytest.raises(LocalProtocolError, match="expired"):
        SecureSerializer(None, None, [ALICE.certificate], now=NOW + timedelta(2))


def test_what_cannot_be_used_fails_when_it_is_loaded() -> None:
    curve = make_identity("curve", elliptic=True)
    with pytest.raises(LocalProtocolError, match="expected RSA"):
        SecureSerializer(curve.key, None, [])
    with pytest.raises(LocalProtocolError, match="expected an RSA key"):
        SecureSerializer(None, None, [curve.certificate])
    with pytest.raises(LocalProtocolError, match="certificate"):
        SecureSerializer(None, None, [b"nope"])
    with pytest.raises(LocalProtocolError, match="private key"):
        SecureSerializer(b"nope", None, [])
    with pytest.raises(LocalProtocolError, match="layout"):
        signer(layout="6")
    with pytest.raises(LocalProtocolError, match="digest"):
        signer(digest="md5")
    with pytest.raises(LocalProtocolError, match="serializer"):
        signer(inner="nope")
