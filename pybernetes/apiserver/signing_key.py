"""The key that signs service-account tokens, and the id by which others know it. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pybernetes.api.meta import Object

ALGORITHM = "ES256"


class SigningKey:
    """An ECDSA P-256 key, from PEM. ValueError for any other."""

    def __init__(self, pem: bytes) -> None:
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the service-account signing key is no ECDSA key")
        self._key = key
        self.public = key.public_key()
        der = self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        # The key id that upstream derives: unpadded base64url of the SHA-256 of the DER public key.
        self.id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.id})

    def jwk(self) -> Object:
        """The public key as a JSON Web Key (RFC 7517)."""
        numbers = self.public.public_numbers()
        return {
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": ALGORITHM,
            "x": _base64url(numbers.x),
            "y": _base64url(numbers.y),
        }


def _base64url(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()
