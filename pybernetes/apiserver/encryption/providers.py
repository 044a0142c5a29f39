"""Sealing values, in the forms in which upstream stores them, so that each reads what the other wrote.

A sealed value is ``k8s:enc:PROVIDER:v1:KEY:`` and the provider's bytes. aescbc: 16 bytes IV, AES-CBC with PKCS #7
padding. aesgcm: 12 bytes nonce, AES-GCM with the store's key as additional data. secretbox: 24 bytes nonce,
XSalsa20-Poly1305. All cryptography is the libraries' own: ``cryptography``, and for secretbox PyNaCl.

Stateless but for the ciphers' keys; safe on any thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = b"k8s:enc:"
_BLOCK_BYTES = 16
_GCM_NONCE_BYTES = 12
_BOX_NONCE_BYTES = 24


class EncryptionError(Exception):
    """A stored value cannot be read with the keys at hand; the message names no secret."""


class UnsupportedProvider(ValueError):
    """A provider for which there is no library, or none installed."""


class Sealer(Protocol):
    """One key of one provider."""

    def seal(self, value: bytes, key: bytes) -> bytes: ...

    def open(self, sealed: bytes, key: bytes) -> bytes:
        """Raises ValueError where it was not sealed with this key, or was changed."""
        ...


class AESCBC:
    """AES-CBC with PKCS #7 padding. It does not notice every change of the ciphertext (upstream's documentation
    warns of that); JSON that does not parse is then what is noticed."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)

    def seal(self, value: bytes, key: bytes) -> bytes:
        iv = os.urandom(_BLOCK_BYTES)
        padder = padding.PKCS7(8 * _BLOCK_BYTES).padder()
        encryptor = Cipher(self._algorithm, modes.CBC(iv)).encryptor()
        return iv + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def open(self, sealed: bytes, key: bytes) -> bytes:
        iv, content = sealed[:_BLOCK_BYTES], sealed[_BLOCK_BYTES:]
        if not content or len(content) % _BLOCK_BYTES:
            raise ValueError("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(8 * _BLOCK_BYTES).unpadder()
        return unpadder.update(decryptor.update(content) + decryptor.finalize()) + unpadder.finalize()


class AESGCMSealer:
    """AES-GCM with random nonces. A key must not seal more than about 2^32 values: rotate it, as upstream says."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, key: bytes) -> bytes:
        nonce = os.urandom(_GCM_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, key)

    def open(self, sealed: bytes, key: bytes) -> bytes:
        if len(sealed) < _GCM_NONCE_BYTES:
            raise ValueError("the stored data was shorter than the required size")
        try:
            return self._cipher.decrypt(sealed[:_GCM_NONCE_BYTES], sealed[_GCM_NONCE_BYTES:], key)
        except InvalidTag as error:
            raise ValueError("cipher: message authentication failed") from error


class Secretbox:
    """XSalsa20-Poly1305, by libsodium. Raises `UnsupportedProvider` where PyNaCl is not installed."""

    def __init__(self, key: bytes) -> None:
        try:
            from nacl.exceptions import CryptoError
            from nacl.secret import SecretBox
        except ImportError as error:
            raise UnsupportedProvider(
                "secretbox needs the PyNaCl library: pip install 'pybernetes[secretbox]'"
            ) from error
        self._box = SecretBox(key)
        self._fault = CryptoError

    def seal(self, value: bytes, key: bytes) -> bytes:
        return bytes(self._box.encrypt(value, os.urandom(_BOX_NONCE_BYTES)))

    def open(self, sealed: bytes, key: bytes) -> bytes:
        try:
            return bytes(self._box.decrypt(sealed))
        except (self._fault, ValueError) as error:
            raise ValueError("output array was not large enough or the data was changed") from error


SEALERS: dict[str, Callable[[bytes], Sealer]] = {"aescbc": AESCBC, "aesgcm": AESGCMSealer, "secretbox": Secretbox}
KEY_BYTES: dict[str, tuple[int, ...]] = {"aescbc": (16, 24, 32), "aesgcm": (16, 24, 32), "secretbox": (32,)}


class Identity:
    """Values as they are."""

    prefix = b""

    def seal(self, value: bytes, key: bytes) -> bytes:
        return value

    def open(self, stored: bytes, key: bytes) -> bytes:
        if stored.startswith(PREFIX):
            raise ValueError("identity transformer tried to read encrypted data")
        return stored


class Keyed:
    """A provider's key by its name."""

    def __init__(self, provider: str, name: str, sealer: Sealer) -> None:
        self.prefix = PREFIX + f"{provider}:v1:{name}:".encode()
        self._sealer = sealer

    def seal(self, value: bytes, key: bytes) -> bytes:
        return self.prefix + self._sealer.seal(value, key)

    def open(self, stored: bytes, key: bytes) -> bytes:
        return self._sealer.open(stored[len(self.prefix) :], key)


Provider = Identity | Keyed


class Chain:
    """The providers of a resource, in order: the first seals, whichever's prefix a value has opens it."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        assert providers, "validated: at least one provider"
        self._providers = tuple(providers)

    def seal(self, value: bytes, key: str) -> bytes:
        return self._providers[0].seal(value, key.encode())

    def open(self, stored: bytes, key: str) -> tuple[bytes, bool]:
        """(value, whether another than the first provider had sealed it). Raises `EncryptionError`."""
        faults = []
        for i, provider in enumerate(self._providers):
            if not stored.startswith(provider.prefix):
                continue
            try:
                return provider.open(stored, key.encode()), i > 0
            except ValueError as error:
                # As upstream: several keys may have one name, and data without a prefix may be anybody's.
                faults.append(str(error))
        why = "; ".join(faults) or "no matching prefix found"
        raise EncryptionError(f"unable to transform key {key!r}: {why}")
