"""Whatever is presented as a token, the answer is a user or a refusal."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.apiserver.authenticators.bootstrap_tokens import BootstrapTokens
from pybernetes.apiserver.authenticators.chain import InvalidToken, TokenChain
from pybernetes.apiserver.authenticators.jwt_issuers import JWTIssuer, JWTIssuerConfig, Mapped
from pybernetes.apiserver.authenticators.legacy_tokens import LegacyTokens
from pybernetes.apiserver.outbound import Outbound, trusting
from pybernetes.apiserver.tokens import ServiceAccountTokens
from pybernetes.lib.clock import ManualClock
from tests.unit.apiserver.security.memory_reader import MemoryReader
from tests.unit.apiserver.security.test_tokens import key_pem

CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "kubernetes.io", "alg", "kid", "typ", "crit", "b64")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(CLAIMS) | st.text(max_size=5), inner),
    max_leaves=8,
)
PART = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
TOKEN = st.lists(PART.map(lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")), max_size=4).map(".".join)


async def _no_use(namespace: str, name: str, day: str) -> None: ...


def chain() -> TokenChain:
    reader, clock = MemoryReader(), ManualClock()
    tokens = ServiceAccountTokens(key_pem(), reader, clock)
    own = frozenset(tokens.audiences)
    issuer = JWTIssuerConfig("https://issuer", ("p8s",), trusting(None), Mapped("sub"))
    return TokenChain(
        [
            tokens,
            LegacyTokens(tokens.key, reader, clock, own, _no_use),
            BootstrapTokens(reader, clock, own),
            JWTIssuer(issuer, Outbound(), clock, own),
        ],
        tokens.audiences,
    )


CHAIN = chain()


@given(TOKEN | st.text(max_size=200))
@settings(max_examples=400, deadline=None)
async def test_any_text(token: str) -> None:
    with pytest.raises(InvalidToken):
        await CHAIN.authenticate(token)


@pytest.mark.parametrize("content", [b"[" * 12_000, b'{"a":' * 2_000, b"\xff", b"", b"1", b'"\\ud800"'])
async def test_contents_that_are_no_claims(content: bytes) -> None:
    part = base64.urlsafe_b64encode(content).decode().rstrip("=")
    head = base64.urlsafe_b64encode(b'{"alg":"ES256"}').decode().rstrip("=")
    for token in (f"{head}.{part}.x", f"{part}.{part}.x", f"{head}.{part}.", part):
        with pytest.raises(InvalidToken):
            await CHAIN.authenticate(token)
