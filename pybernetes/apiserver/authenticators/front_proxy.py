"""The request-header authenticator: a front proxy that shows a certificate of a CA of its own says who asks.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/; upstream's --requestheader-…
flags. Whoever holds a certificate of that CA may be anybody: the CA must sign for proxies alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api.user import User, clean
from pybernetes.apiserver.authenticators.chain import with_membership


@dataclass(frozen=True, slots=True)
class FrontProxyConfig:
    ca_pem: bytes
    allowed_names: tuple[str, ...] = ()
    """Common names of certificates; empty for any."""
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


class FrontProxy:
    def __init__(self, config: FrontProxyConfig) -> None:
        self._config = config
        self._allowed = frozenset(config.allowed_names)
        self._prefixes = tuple(p.lower() for p in config.extra_prefixes)
        self.authorities = x509.load_pem_x509_certificates(config.ca_pem)

    def may_speak(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is a proxy's. To be remembered: it verifies a signature."""
        if not is_issued_by(certificate, self.authorities):
            return False
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return not self._allowed or (bool(names) and names[0].value in self._allowed)

    def user(self, headers: Mapping[str, str]) -> User | None:
        """Whom the proxy's headers name; None for nobody."""
        config = self._config
        name = _first(headers, config.username_headers)
        if not name:
            return None
        groups: list[str] = []
        extra: dict[str, list[str]] = {}
        wanted = {h.lower() for h in config.group_headers}
        for header, value in headers.items():
            low = header.lower()
            if low in wanted and value:
                groups.append(clean(value))
            for prefix in self._prefixes:
                if low.startswith(prefix):
                    extra.setdefault(unquote(low[len(prefix) :]), []).append(clean(value))
        return with_membership(
            User(
                name,
                _first(headers, config.uid_headers),
                tuple(groups),
                {key: tuple(values) for key, values in extra.items()},
            )
        )


def is_issued_by(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    """Whether one of the authorities signed the certificate itself (TLS has verified a whole chain already)."""
    for authority in authorities:
        if authority.subject != certificate.issuer:
            continue
        try:
            certificate.verify_directly_issued_by(authority)
        except Exception:  # noqa: BLE001 - any failure to verify means the same: not by this one
            continue
        return True
    return False


def _first(headers: Mapping[str, str], names: Sequence[str]) -> str:
    return clean(next((headers[name] for name in names if headers.get(name)), ""))
