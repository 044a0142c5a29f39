"""Who a request is from: certificates, tokens, nobody, and who it wants to be."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from multidict import CIMultiDict

from pybernetes.api import errors
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, SERVICEACCOUNTS
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, User
from pybernetes.apiserver.authentication import RequestAuthenticator, anonymous_user, bearer_token
from pybernetes.apiserver.authenticators.chain import TokenChain
from pybernetes.apiserver.authenticators.static_tokens import StaticTokens
from pybernetes.apiserver.authorization import AuthorizerChain
from pybernetes.apiserver.impersonation import Impersonator
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.apiserver.tokens import ServiceAccountTokens
from pybernetes.lib.clock import ManualClock, SystemClock
from tests.unit.apiserver.security.memory_reader import MemoryReader


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ClusterPKI:
    return ClusterPKI.ensure(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SystemClock().now())


@pytest.fixture
def tokens(pki: ClusterPKI, reader: MemoryReader, clock: ManualClock) -> ServiceAccountTokens:
    return ServiceAccountTokens(pki.service_account_key_pem(), reader, clock)


@pytest.fixture
def authenticator(tokens: ServiceAccountTokens, reader: MemoryReader, clock: ManualClock) -> RequestAuthenticator:
    authorizer = AuthorizerChain([RBACAuthorizer(reader)])
    audiences = frozenset(tokens.audiences)
    static = StaticTokens({"s3cret": User("ops", groups=("x",))}, audiences)
    return RequestAuthenticator(TokenChain([static, tokens], tokens.audiences), Impersonator(authorizer), clock)


def headers(**values: str | list[str]) -> Mapping[str, str]:
    made: CIMultiDict[str] = CIMultiDict()
    for name, value in values.items():
        for one in [value] if isinstance(value, str) else value:
            made.add(name.replace("_", "-"), one)
    return made


async def test_nobody(authenticator: RequestAuthenticator) -> None:
    assert await authenticator.authenticate(headers(), None) is None
    assert await authenticator.authenticate(headers(Authorization="Basic eDp5"), None) is None


async def test_a_certificate(authenticator: RequestAuthenticator, pki: ClusterPKI) -> None:
    certificate = pki.issue_client("alice", ["devs"]).certificate
    user = await authenticator.authenticate(headers(), certificate)
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    extra = {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    assert user == User("alice", "", ("devs", AUTHENTICATED), extra)


def self_signed(*attributes: tuple[str, str]) -> x509.Certificate:
    """A certificate whose subject has these attributes, by their dotted ids."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in attributes])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )


async def test_a_certificate_that_names_its_users_uid(authenticator: RequestAuthenticator) -> None:
    name, uid = ("2.5.4.3", "alice"), ("1.3.6.1.4.1.57683.2", "u-1")
    user = await authenticator.authenticate(headers(), self_signed(name, uid))
    assert user is not None and (user.name, user.uid) == ("alice", "u-1")
    with pytest.raises(errors.Unauthorized):
        await authenticator.authenticate(headers(), self_signed(name, uid, uid))


async def test_a_certificate_that_ends_amid_a_connection(
    authenticator: RequestAuthenticator, pki: ClusterPKI, clock: ManualClock
) -> None:
    certificate = pki.issue_client("alice").certificate
    assert await authenticator.authenticate(headers(), certificate)
    clock.advance(366 * 86400)
    with pytest.raises(errors.Unauthorized):
        await authenticator.authenticate(headers(), certificate)


async def test_tokens(authenticator: RequestAuthenticator, tokens: ServiceAccountTokens, reader: MemoryReader) -> None:
    account = reader.make(SERVICEACCOUNTS, "robot", "shop")
    token = tokens.sign("shop", "robot", account["metadata"]["uid"], lifetime_seconds=600)
    user = await authenticator.authenticate(headers(Authorization=f"Bearer {token}"), None)
    assert user is not None and user.name == "system:serviceaccount:shop:robot"
    static = await authenticator.authenticate(headers(Authorization="bearer s3cret"), None)
    assert static is not None and static.name == "ops"
    for bad in ("nonsense", token + "x", "s3cre"):
        with pytest.raises(errors.Unauthorized, match=r"^Unauthorized$"):
            await authenticator.authenticate(headers(Authorization=f"Bearer {bad}"), None)


def test_a_token_in_a_websockets_subprotocol() -> None:
    encoded = base64.urlsafe_b64encode(b"to.ke.n").rstrip(b"=").decode()
    protocols = f"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"
    assert bearer_token(headers(Sec_WebSocket_Protocol=protocols)) == "to.ke.n"
    assert bearer_token(headers(Sec_WebSocket_Protocol="v4.channel.k8s.io")) is None


# Impersonation


async def acting(
    authenticator: RequestAuthenticator, wish: Mapping[str, str], certificate: x509.Certificate | None
) -> User:
    """Who a request acts as, both steps taken."""
    user = await authenticator.authenticate(wish, certificate)
    return await authenticator.impersonate(user or anonymous_user, wish)


def grant(reader: MemoryReader, *rules: dict[str, object]) -> None:
    reader.make(CLUSTERROLES, "mask", rules=list(rules))
    reader.make(
        CLUSTERROLEBINDINGS,
        "mask",
        subjects=[{"kind": "User", "name": "alice"}],
        roleRef={"kind": "ClusterRole", "name": "mask"},
    )


async def test_masters_may_be_anybody(authenticator: RequestAuthenticator, pki: ClusterPKI) -> None:
    admin = pki.issue_client("root", [SYSTEM_MASTERS]).certificate
    wish = headers(
        Impersonate_User="bob",
        Impersonate_Group=["a", "b"],
        Impersonate_Uid="7",
        **{"Impersonate-Extra-Example.com%2fKey": ["v", "w"]},
    )
    user = await acting(authenticator, wish, admin)
    assert user == User("bob", "7", ("a", "b", AUTHENTICATED), {"example.com/key": ("v", "w")})
    account = await acting(authenticator, headers(Impersonate_User="system:serviceaccount:shop:robot"), admin)
    assert account is not None
    assert account.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", AUTHENTICATED)
    nobody = await acting(authenticator, headers(Impersonate_User="system:anonymous"), admin)
    assert nobody is not None and nobody.groups == ("system:unauthenticated",)


async def test_others_need_every_right(
    authenticator: RequestAuthenticator, pki: ClusterPKI, reader: MemoryReader
) -> None:
    alice = pki.issue_client("alice").certificate
    with pytest.raises(errors.Forbidden) as refused:
        await acting(authenticator, headers(Impersonate_User="bob"), alice)
    assert refused.value.message == (
        'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )
    users = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["bob"]}
    grant(reader, users)
    assert await acting(authenticator, headers(Impersonate_User="bob"), alice)
    with pytest.raises(errors.Forbidden):
        await acting(authenticator, headers(Impersonate_User="root"), alice)
    with pytest.raises(errors.Forbidden, match='groups "system:masters" is forbidden'):
        await acting(authenticator, headers(Impersonate_User="bob", Impersonate_Group="system:masters"), alice)
    with pytest.raises(errors.Forbidden, match="uids"):
        await acting(authenticator, headers(Impersonate_User="bob", Impersonate_Uid="1"), alice)
    with pytest.raises(errors.Forbidden, match="userextras/scope"):
        await acting(authenticator, headers(Impersonate_User="bob", **{"Impersonate-Extra-scope": "x"}), alice)


async def test_nobody_impersonates_nobody(authenticator: RequestAuthenticator) -> None:
    with pytest.raises(errors.Forbidden, match='User "system:anonymous" cannot impersonate'):
        await acting(authenticator, headers(Impersonate_User="bob"), None)


async def test_groups_without_a_user(authenticator: RequestAuthenticator, pki: ClusterPKI) -> None:
    admin = pki.issue_client("root", [SYSTEM_MASTERS]).certificate
    with pytest.raises(errors.InternalError, match="without impersonating a user"):
        await acting(authenticator, headers(Impersonate_Group="a"), admin)
