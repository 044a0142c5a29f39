"""Where etcd is and how to get in: ``etcd://[user[:password]@]host:port[,host:port...][/prefix]``. Pure.

``etcds://`` asks for TLS; so does naming a CA or a client certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

SCHEMES = ("etcd", "etcds")
DEFAULT_PORT = 2379


@dataclass(frozen=True, slots=True)
class EtcdTLS:
    """PEM. Without `ca` the system's authorities are trusted; `certificate` and `key` come together."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    endpoints: tuple[str, ...]
    """``host:port``, each; tried in this order."""
    prefix: str = ""
    """Put before every key; empty or ``/name`` without a slash at its end."""
    tls: EtcdTLS | None = None
    user: str = ""
    password: str = field(default="", repr=False)


def parse_url(
    url: str,
    *,
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    user: str = "",
    password: str = "",
) -> EtcdConfig:
    """The configuration that a URL and the options beside it make, which win. Reads the files. Raises ValueError
    with what is wrong, OSError."""
    # urlsplit does not know lists of hosts, and needs not: the authority is taken apart here.
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{url!r} is no etcd URL: it must begin with etcd:// or etcds://")
    if parts.query or parts.fragment:
        raise ValueError(f"an etcd URL ends with its prefix: {parts.query or parts.fragment!r} is too much")
    credentials, _, hosts = parts.netloc.rpartition("@")
    url_user, _, url_password = credentials.partition(":")
    endpoints = tuple(_endpoint(h) for h in hosts.split(","))
    if (certificate_file is None) != (key_file is None):
        raise ValueError("a client certificate and its key are given together")
    tls = None
    if parts.scheme == "etcds" or ca_file or certificate_file:
        tls = EtcdTLS(_read(ca_file), _read(certificate_file), _read(key_file))
    user, password = user or unquote(url_user), password or unquote(url_password)
    if bool(user) != bool(password):
        raise ValueError("a user and a password are given together")
    return EtcdConfig(endpoints, parts.path.rstrip("/"), tls, user, password)


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or (":" in host and not host.startswith("[")):
        raise ValueError(f"{text!r} is no etcd endpoint: HOST or HOST:PORT is meant, IPv6 addresses in brackets")
    return f"{host}:{port}"


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None
