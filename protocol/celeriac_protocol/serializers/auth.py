"""Signed bodies: another serializer's output with a signature in front.

A signed body is base64 of five fields joined by the bytes ``00 01``: who signed, the signature, and content type,
content encoding and bytes of the inner body. The signature is RSA-PSS over the inner bytes alone, with the longest
salt the key allows. The signer is named by the issuer and serial number of its certificate.

Celery 5.5 changed the first two fields from raw to base64, and neither side of that change reads the other. We read
both: the first field, decoded, names a certificate of the store, or else the layout is the old one, where the
signature is found by its length. (The SHA-1 signatures of Celery 4.0 to 4.2 are not read.)

What is verified is trusted: the inner body is decoded whatever its content type, as Celery does. With a signing peer
that uses pickle, its key is a key to this machine.

Spec: task-message#6.5
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from celeriac_protocol.errors import LocalProtocolError, UndecodableBodyError
from celeriac_protocol.serializers import registry
from celeriac_protocol.serializers.registry import MissingLibraryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import PSS
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm
    from cryptography.x509 import Certificate

__all__ = ["LAYOUTS", "SecureSerializer"]

LAYOUTS = (">=5.5", "<=5.4")
"""Named by the Celery versions that write them."""

_SEPARATOR = b"\x00\x01"
_DIGESTS = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})


class _Fields(NamedTuple):
    signer: str
    signature: bytes
    content_type: str
    content_encoding: str
    body: bytes


class SecureSerializer:
    """The serializer ``auth``; needs cryptography.

    Register an instance to use it; there is none by default, as it is nothing without keys.
    """

    name = "auth"
    content_type = "application/data"
    content_encoding = "utf-8"

    def __init__(
        self,
        key_pem: bytes | None,
        cert_pem: bytes | None,
        store_pems: Iterable[bytes],
        digest: str = "sha256",
        inner: str = "json",
        layout: str = ">=5.5",
        *,
        key_password: bytes | None = None,
        now: datetime | None = None,
    ) -> None:
        """Load keys and certificates.

        Args:
            key_pem: RSA private key to sign with; `None` for a reader.
            cert_pem: The certificate that belongs to it.
            store_pems: Certificates of the signers to trust.
            digest: Hash of the signature: the setting `security_digest`, the same on both sides.
            inner: Alias of the serializer whose output is signed.
            layout: What to write, one of `LAYOUTS`.
            key_password: Of an encrypted key.
            now: Aware; refuses certificates that have expired by then. `None` checks no dates.

        Raises:
            LocalProtocolError: Something of the above cannot be used.
        """
        self.require()
        if layout not in LAYOUTS:
            raise LocalProtocolError(f"layout: expected one of {LAYOUTS}, got {layout!r}")
        if digest not in _DIGESTS:
            known = ", ".join(sorted(_DIGESTS))
            raise LocalProtocolError(f"digest: expected one of {known}, got {digest!r}")
        registry.get(inner)
        self._digest = digest
        self._inner = inner
        self._layout = layout
        self._key = None if key_pem is None else _load_key(key_pem, key_password)
        self._signer = None if cert_pem is None else _signer(_load_certificate(cert_pem, now))
        self._store: dict[str, RSAPublicKey] = {}
        for pem in store_pems:
            certificate = _load_certificate(pem, now)
            self._store[_signer(certificate)] = _public_key(certificate)

    def dumps(self, value: object) -> bytes:
        """Return `value` serialized and signed."""
        if self._key is None or self._signer is None:
            raise LocalProtocolError("auth: signing needs a key and its certificate")
        inner = registry.dumps(value, self._inner)
        signature = self._key.sign(inner.data, self._padding(), self._hash())
        signer = self._signer.encode()
        if self._layout == ">=5.5":
            signer, signature = base64.b64encode(signer), base64.b64encode(signature)
        fields = (
            signer,
            signature,
            inner.content_type.encode(),
            inner.content_encoding.encode(),
            inner.data,
        )
        return base64.b64encode(_SEPARATOR.join(fields))

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the value of a body signed by someone in the store.

        Raises:
            UndecodableBodyError: Not a signed body, unknown signer, or a signature that does not fit.
        """
        del content_encoding
        fields = self._split(data)
        from cryptography.exceptions import InvalidSignature

        try:
            self._store[fields.signer].verify(
                fields.signature, fields.body, self._padding(), self._hash()
            )
        except InvalidSignature as exc:
            raise UndecodableBodyError(
                "body", f"a valid signature of {fields.signer!r}", "one that does not fit"
            ) from exc
        return registry.loads(
            fields.body,
            fields.content_type,
            fields.content_encoding,
            frozenset({fields.content_type}),
        )

    def require(self) -> None:
        """Raise `MissingLibraryError` without cryptography."""
        try:
            import cryptography.x509  # noqa: F401 - only whether it is there
        except ImportError as exc:
            raise MissingLibraryError(
                "serializer auth: needs cryptography (celeriac[auth])"
            ) from exc

    def _split(self, data: bytes) -> _Fields:
        try:
            payload = base64.b64decode(data)
        except binascii.Error as exc:
            raise UndecodableBodyError("body", "base64 of a signed body", exc) from exc
        parts = payload.split(_SEPARATOR, 4)
        if len(parts) == 5 and (signer := self._known_signer(_base64_or_none(parts[0]))):
            signature = _base64_or_none(parts[1])
            if signature is None:
                raise UndecodableBodyError("body", "a signature in base64", parts[1])
            return _fields(signer, signature, *parts[2:])
        return self._split_old(payload)

    def _split_old(self, payload: bytes) -> _Fields:
        first, _, rest = payload.partition(_SEPARATOR)
        signer = self._known_signer(first)
        if signer is None:
            raise UndecodableBodyError("body", "a signer in the certificate store", first)
        size = self._store[signer].key_size // 8
        signature, rest = rest[:size], rest[size:]
        # The signature is raw bytes and may hold the separator itself, so only its length tells where it ends.
        parts = rest.split(_SEPARATOR, 3)
        if len(signature) < size or len(parts) < 4 or parts[0]:
            raise UndecodableBodyError("body", f"a signature of {size} bytes and a body", rest)
        return _fields(signer, signature, *parts[1:])

    def _known_signer(self, field: bytes | None) -> str | None:
        try:
            signer = (field or b"").decode()
        except UnicodeDecodeError:
            return None
        return signer if signer in self._store else None

    def _hash(self) -> HashAlgorithm:
        from cryptography.hazmat.primitives import hashes

        algorithm: HashAlgorithm = getattr(hashes, self._digest.upper())()
        return algorithm

    def _padding(self) -> PSS:
        from cryptography.hazmat.primitives.asymmetric import padding

        return padding.PSS(mgf=padding.MGF1(self._hash()), salt_length=padding.PSS.MAX_LENGTH)


def _fields(
    signer: str, signature: bytes, content_type: bytes, content_encoding: bytes, body: bytes
) -> _Fields:
    try:
        return _Fields(signer, signature, content_type.decode(), content_encoding.decode(), body)
    except UnicodeDecodeError as exc:
        raise UndecodableBodyError("body", "a content type in UTF-8", content_type) from exc


def _base64_or_none(field: bytes) -> bytes | None:
    try:
        return base64.b64decode(field, validate=True)
    except binascii.Error:
        return None


def _load_key(pem: bytes, password: bytes | None) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError) as exc:
        raise LocalProtocolError(f"private key: {exc}") from exc
    if not isinstance(key, RSAPrivateKey):
        raise LocalProtocolError(f"private key: expected RSA, got {type(key).__name__}")
    return key


def _load_certificate(pem: bytes, now: datetime | None) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        certificate = load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise LocalProtocolError(f"certificate: {exc}") from exc
    expires = certificate.not_valid_after_utc
    if now is not None and now.astimezone(UTC) > expires:
        raise LocalProtocolError(
            f"certificate {_signer(certificate)!r}: expired at {expires.isoformat()}"
        )
    return certificate


def _public_key(certificate: Certificate) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise LocalProtocolError(f"certificate: expected an RSA key, got {type(key).__name__}")
    return key


def _signer(certificate: Certificate) -> str:
    """Return how a body names the certificate: the values of its issuer, then its serial number."""
    values = [str(attribute.value) for attribute in certificate.issuer]
    return " ".join([*values, str(certificate.serial_number)])
