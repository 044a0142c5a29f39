"""The API server's own HTTP client, for key sets of identity providers and for webhooks.

One session, made at first use and closed with the server; answers are bounded in size and time. Webhooks are told in
files of kubeconfig form (`WebhookConfig`), as upstream's.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from pybernetes.api.meta import Object

ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_SECONDS = 30.0


class OutboundError(Exception):
    """The other side could not be reached, or did not answer as it should."""


class WebhookConfigError(ValueError):
    """The file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where a webhook is and how it is spoken to."""

    url: str
    tls: ssl.SSLContext
    authorization: str = ""


class Outbound:
    """One event loop owns it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, tls: ssl.SSLContext) -> Any:
        """The JSON at a URL. Raises `OutboundError`."""
        return _json(url, await self._ask("GET", url, tls))

    async def post(self, config: WebhookConfig, body: Object, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
        """A webhook's answer, as JSON. Raises `OutboundError`."""
        return _json(config.url, await self.send(config, orjson.dumps(body), timeout_seconds))

    async def send(self, config: WebhookConfig, body: bytes, timeout_seconds: float = TIMEOUT_SECONDS) -> bytes:
        """A webhook's answer, whatever it is, to a body of JSON. Raises `OutboundError`."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if config.authorization:
            headers["Authorization"] = config.authorization
        return await self._ask("POST", config.url, config.tls, body, headers, timeout_seconds)

    async def _ask(
        self,
        method: str,
        url: str,
        tls: ssl.SSLContext,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, ssl=tls, allow_redirects=False, timeout=timeout
            ) as response:
                content = await response.content.read(ANSWER_BYTES_MAX + 1)
                while not response.content.at_eof() and len(content) <= ANSWER_BYTES_MAX:
                    content += await response.content.read(ANSWER_BYTES_MAX + 1 - len(content))
                if len(content) > ANSWER_BYTES_MAX:
                    raise OutboundError(f"{method} {url}: the answer has more than {ANSWER_BYTES_MAX} bytes")
                if not 200 <= response.status < 300:
                    raise OutboundError(f"{method} {url}: HTTP {response.status}")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise OutboundError(f"{method} {url}: {error or type(error).__name__}") from error
        return content


def _json(url: str, content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError as error:
        raise OutboundError(f"{url}: the answer is no JSON: {error}") from error


def trusting(ca_pem: str | None) -> ssl.SSLContext:
    """A client's TLS context: the bundle alone is trusted, or the machine's where there is none. ValueError."""
    try:
        context = ssl.create_default_context(cadata=ca_pem) if ca_pem else ssl.create_default_context()
    except ssl.SSLError as error:
        raise ValueError(f"the CA bundle cannot be read: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_webhook(path: Path) -> WebhookConfig:
    """The current context of a file of kubeconfig form. Raises `WebhookConfigError`, OSError."""
    try:
        body = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        named = {c["name"]: c["context"] for c in body.get("contexts") or ()}
        context = named[body["current-context"]]
        clusters = {c["name"]: c["cluster"] for c in body["clusters"]}
        users = {u["name"]: u.get("user") or {} for u in body.get("users") or ()}
        cluster, user = clusters[context["cluster"]], users.get(context.get("user") or "", {})
        url = str(cluster["server"])
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WebhookConfigError(f"{path} is no YAML: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise WebhookConfigError(f"{path} is no complete kubeconfig: {error!r}") from error
    try:
        return WebhookConfig(url, _tls(path.parent, cluster, user), _authorization(path.parent, user))
    except (ValueError, ssl.SSLError) as error:
        raise WebhookConfigError(f"{path}: {error}") from error


def _tls(base: Path, cluster: Object, user: Object) -> ssl.SSLContext:
    ca = _content(base, cluster, "certificate-authority")
    context = trusting(ca.decode() if ca else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _content(base, user, "client-certificate"), _content(base, user, "client-key")
    if certificate and key:
        # OpenSSL takes a certificate from a file alone: one that nobody else can read, for a moment.
        with tempfile.NamedTemporaryFile(prefix="p8s-webhook-") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _authorization(base: Path, user: Object) -> str:
    if user.get("token"):
        return f"Bearer {user['token']}"
    if user.get("tokenFile"):
        return f"Bearer {(base / user['tokenFile']).read_text().strip()}"
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return ""


def _content(base: Path, entry: Object, key: str) -> bytes | None:
    """A value given in place (``KEY-data``) or by a file's name, relative to the configuration."""
    if entry.get(f"{key}-data"):
        try:
            return base64.b64decode(entry[f"{key}-data"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"{key}-data is not base64: {error}") from error
    return (base / entry[key]).read_bytes() if entry.get(key) else None
