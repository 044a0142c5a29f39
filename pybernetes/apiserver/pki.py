"""The cluster's public key infrastructure: one CA, the certificates and keys it signed, TLS contexts made of them.

Everything lives in one directory (0700, private keys 0600, laid out as kubeadm lays out ``/etc/kubernetes/pki``).
`ClusterPKI.ensure` makes what is missing, renews what is near its end, and may be run again after any interruption:
a key and its certificate are written apart, each by an atomic rename after fsync, and a pair that does not match
(a process killed between the two) is made anew. The CA and the service-account key are never replaced once whole,
since everything issued hangs on them.

ECDSA P-256 throughout. Synchronous, called at start and seldom after; no shared state but the files.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pybernetes.api.user import NODES_GROUP, SYSTEM_MASTERS
from pybernetes.lib.clock import Clock, SystemClock

CA_LIFETIME = datetime.timedelta(days=3650)
CERTIFICATE_LIFETIME = datetime.timedelta(days=365)
RENEW_BEFORE = datetime.timedelta(days=60)
"""A certificate with less than this left is made anew at start."""
_BACKDATE = datetime.timedelta(minutes=5)
"""Certificates begin a little in the past, for peers whose clocks are behind."""

CA_NAME = "kubernetes"
ADMIN_USER = "kubernetes-admin"
KUBELET_CLIENT_USER = "kube-apiserver-kubelet-client"


class PKIError(Exception):
    """The files at hand cannot be used; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, as PEM."""

    certificate_pem: bytes
    key_pem: bytes

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate_pem)


@dataclass(frozen=True, slots=True)
class _Request:
    """What a certificate is to say."""

    common_name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    client: bool = True
    server: bool = False


def serving_hosts(
    *, advertise_addresses: Sequence[str], service_ip: str, cluster_domain: str, extra: Sequence[str] = ()
) -> tuple[str, ...]:
    """The names and addresses that the API server's certificate holds, as kubeadm's, in a stable order."""
    return tuple(
        dict.fromkeys(
            [
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                f"kubernetes.default.svc.{cluster_domain}",
                "localhost",
                service_ip,
                "127.0.0.1",
                "::1",
                *advertise_addresses,
                *extra,
            ]
        )
    )


class ClusterPKI:
    """The PKI of one cluster, in `directory`. Make it with `ensure` (creates and renews) or `load` (reads)."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.directory = directory
        self._clock = clock or SystemClock()
        self._ca_certificate: x509.Certificate | None = None
        self._ca_key: ec.EllipticCurvePrivateKey | None = None

    @classmethod
    def ensure(
        cls,
        directory: Path,
        *,
        advertise_addresses: Sequence[str] = (),
        service_ip: str = "10.96.0.1",
        cluster_domain: str = "cluster.local",
        extra_hosts: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> ClusterPKI:
        """The PKI with every file the server needs, made or renewed where needed. The serving certificate is also
        made anew where it lacks one of the addresses. Raises `PKIError`, OSError."""
        pki = cls(directory, clock)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        pki._ensure_ca()
        hosts = serving_hosts(
            advertise_addresses=advertise_addresses,
            service_ip=service_ip,
            cluster_domain=cluster_domain,
            extra=extra_hosts,
        )
        pki._ensure_pair("apiserver", _Request("kube-apiserver", hosts=hosts, client=False, server=True))
        pki._ensure_pair("apiserver-kubelet-client", _Request(KUBELET_CLIENT_USER, (SYSTEM_MASTERS,)))
        pki._ensure_pair("admin", _Request(ADMIN_USER, (SYSTEM_MASTERS,)))
        pki._ensure_service_account_key()
        return pki

    @classmethod
    def load(cls, directory: Path, clock: Clock | None = None) -> ClusterPKI:
        """The PKI that is there already. Raises `PKIError` where its CA is missing."""
        pki = cls(directory, clock)
        pki._load_ca()
        return pki

    # Paths, as kubeadm names them.

    @property
    def ca_path(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def service_account_key_path(self) -> Path:
        return self.directory / "sa.key"

    def paths(self, name: str) -> tuple[Path, Path]:
        """(certificate, key) of the pair `name`, such as ``apiserver``, ``admin``, ``apiserver-kubelet-client``."""
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def pair(self, name: str) -> KeyPair:
        certificate, key = self.paths(name)
        return KeyPair(certificate.read_bytes(), key.read_bytes())

    @property
    def ca_pem(self) -> bytes:
        return self.ca_path.read_bytes()

    @property
    def ca_certificate(self) -> x509.Certificate:
        if self._ca_certificate is None:
            self._load_ca()
        assert self._ca_certificate is not None
        return self._ca_certificate

    def service_account_key_pem(self) -> bytes:
        return self.service_account_key_path.read_bytes()

    # Issuing.

    def issue_client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: CN is the user, each O a group."""
        return self._issue(_Request(user, tuple(groups)))

    def issue_node(self, node_name: str) -> KeyPair:
        """The client certificate of a node's kubelet, as the node authorizer wants it."""
        return self._issue(_Request(f"system:node:{node_name}", (NODES_GROUP,)))

    def issue_kubelet_serving(self, node_name: str, hosts: Sequence[str]) -> KeyPair:
        """The serving certificate of a kubelet for the node's names and addresses."""
        return self._issue(
            _Request(f"system:node:{node_name}", (NODES_GROUP,), tuple(dict.fromkeys(hosts)), False, True)
        )

    def issue_serving(self, common_name: str, hosts: Sequence[str]) -> KeyPair:
        return self._issue(_Request(common_name, hosts=tuple(dict.fromkeys(hosts)), client=False, server=True))

    def sign(
        self, csr: x509.CertificateSigningRequest, *, client: bool, server: bool, lifetime: datetime.timedelta
    ) -> bytes:
        """A certificate (PEM) over a request's key, subject and alternative names, such as the CSR signers issue.
        The caller has approved the subject. Raises ValueError where the request's signature does not hold."""
        if not csr.is_signature_valid:
            raise ValueError("the certificate signing request's signature does not verify")
        try:
            names: x509.SubjectAlternativeName | None = csr.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
        except x509.ExtensionNotFound:
            names = None
        key = csr.public_key()
        certificate = self._sign(csr.subject, key, names, client=client, server=server, lifetime=lifetime)
        return certificate.public_bytes(serialization.Encoding.PEM)

    # TLS.

    def server_context(self, name: str = "apiserver", *, front_proxy_ca_pem: bytes = b"") -> ssl.SSLContext:
        """For the API server's listener: a client certificate is asked for, not demanded, and verified by the CA, or
        by that of front proxies."""
        context = server_context(*self.paths(name), self.ca_path)
        if front_proxy_ca_pem:
            context.load_verify_locations(cadata=front_proxy_ca_pem.decode())
        return context

    def kubelet_client_context(self) -> ssl.SSLContext:
        """For the API server's connections to kubelets: presents its client certificate, verifies theirs."""
        return client_context(self.ca_path, *self.paths("apiserver-kubelet-client"))

    # Inside.

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(int(self._clock.now()), datetime.UTC)

    def _ensure_ca(self) -> None:
        certificate_path, key_path = self.paths("ca")
        # The key is written first and the certificate last: a certificate says that the CA is whole.
        if certificate_path.exists():
            self._load_ca()
            return
        # A key without its certificate is what an interruption leaves: going on with it keeps whatever it signed.
        key = _load_key(key_path) if key_path.exists() else ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
        now = self._now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(CA_NAME)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        if not key_path.exists():
            write_private(key_path, _key_pem(key))
        write_private(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        self._ca_certificate, self._ca_key = certificate, key

    def _load_ca(self) -> None:
        certificate_path, key_path = self.paths("ca")
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            key = _load_key(key_path)
        except FileNotFoundError as error:
            raise PKIError(f"{error.filename} is missing: restore it, or remove {self.directory} to begin anew") from (
                error
            )
        except ValueError as error:
            raise PKIError(f"the CA in {self.directory} cannot be read: {error}") from error
        if certificate.public_key() != key.public_key():
            raise PKIError(f"{certificate_path} and {key_path} do not belong together")
        if certificate.not_valid_after_utc <= self._now():
            raise PKIError(f"{certificate_path} has expired at {certificate.not_valid_after_utc}")
        self._ca_certificate, self._ca_key = certificate, key

    def _ensure_pair(self, name: str, request: _Request) -> None:
        certificate_path, key_path = self.paths(name)
        if self._holds(certificate_path, key_path, request):
            return
        pair = self._issue(request)
        write_private(key_path, pair.key_pem)
        write_private(certificate_path, pair.certificate_pem, mode=0o644)

    def _holds(self, certificate_path: Path, key_path: Path, request: _Request) -> bool:
        """Whether a pair is there, whole, ours, not near its end, and says what it should."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            key = _load_key(key_path)
        except (FileNotFoundError, ValueError):
            return False
        if certificate.public_key() != key.public_key():
            return False
        try:
            certificate.verify_directly_issued_by(self.ca_certificate)
        except Exception:  # noqa: BLE001 - any failure to verify means the same: not ours, make it anew
            return False
        if certificate.not_valid_after_utc - self._now() < RENEW_BEFORE:
            return False
        if certificate.subject != _subject(request):
            return False
        return set(request.hosts) <= set(_hosts_of(certificate))

    def _ensure_service_account_key(self) -> None:
        path = self.service_account_key_path
        if path.exists():
            try:
                key = _load_key(path)
            except ValueError as error:
                raise PKIError(f"{path} cannot be read: {error}") from error
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(path, _key_pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        public_path = self.directory / "sa.pub"
        if not public_path.exists() or public_path.read_bytes() != public:
            write_private(public_path, public, mode=0o644)

    def _issue(self, request: _Request) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_general_name(h) for h in request.hosts]) if request.hosts else None
        certificate = self._sign(
            _subject(request),
            key.public_key(),
            names,
            client=request.client,
            server=request.server,
            lifetime=CERTIFICATE_LIFETIME,
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def _sign(
        self,
        subject: x509.Name,
        public_key: object,
        names: x509.SubjectAlternativeName | None,
        *,
        client: bool,
        server: bool,
        lifetime: datetime.timedelta,
    ) -> x509.Certificate:
        ca = self.ca_certificate
        assert self._ca_key is not None
        usages = []
        if client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        if server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        now = self._now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject)
            .public_key(public_key)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(min(now + lifetime, ca.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._ca_key, hashes.SHA256())


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """A server's TLS context, 1.2 or newer. With `client_ca`, clients may show a certificate that it signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A client's TLS context, 1.2 or newer, which verifies the server's certificate and name by `ca` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    if certificate is not None and key is not None:
        context.load_cert_chain(certificate, key)
    return context


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file whole or not at all: temporary file in the same directory, fsync, rename, fsync of the
    directory. The file never exists with wider rights than `mode`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds no ECDSA key")
    return key


def _subject(request: _Request) -> x509.Name:
    # One O each, as Go writes and reads groups.
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in request.organizations]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, request.common_name))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


CertificateIssuer = Callable[[str, Sequence[str]], KeyPair]
"""`ClusterPKI.issue_client`: (user, groups) -> pair."""
