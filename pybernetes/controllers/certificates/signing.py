"""Issues the certificate of an approved request with the cluster's CA. Pure: keys come in, a certificate goes out."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pybernetes.api.meta import Object
from pybernetes.controllers.certificates.plan import Asked, usages

_BACKDATE = datetime.timedelta(minutes=5)
_SHORTEST_SECONDS = 600
_SHORT_SECONDS = 8 * 3600
_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
}


class CertificateSigner:
    """A CA. Raises ValueError for PEM that is none, or a key of a kind that cannot sign."""

    def __init__(self, certificate_pem: str, key_pem: str, longest_seconds: int) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        key = serialization.load_pem_private_key(key_pem.encode(), None)
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
            raise ValueError("the CA's key is neither RSA nor ECDSA nor Ed25519")
        self._key = key
        self._longest = longest_seconds

    def sign(self, csr: Object, asked: Asked, now: float) -> bytes:
        """The certificate, PEM: as long as asked for, at most as long as configured and as the CA itself."""
        wanted = min(max(int(csr["spec"].get("expirationSeconds") or self._longest), _SHORTEST_SECONDS), self._longest)
        at = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
        # A short life is whole from now on; of a long one the minutes of backdating are a part, as upstream's.
        end = (
            at + datetime.timedelta(seconds=wanted) - (_BACKDATE if wanted >= _SHORT_SECONDS else datetime.timedelta())
        )
        until = min(end, self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(asked.request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - _BACKDATE)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(usages(csr)), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        extended = [oid for name, oid in _EXTENDED.items() if name in usages(csr)]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(dict.fromkeys(extended)), critical=False)
        if asked.dns_names or asked.ip_addresses or asked.others:
            names = asked.request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=not list(asked.request.subject))
        digest = None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self._key, digest).public_bytes(serialization.Encoding.PEM)


def _key_usage(names: frozenset[str]) -> x509.KeyUsage:
    agreement = "key agreement" in names
    return x509.KeyUsage(
        digital_signature=bool({"digital signature", "signing"} & names),
        content_commitment="content commitment" in names,
        key_encipherment="key encipherment" in names,
        data_encipherment="data encipherment" in names,
        key_agreement=agreement,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=agreement and "encipher only" in names,
        decipher_only=agreement and "decipher only" in names,
    )
