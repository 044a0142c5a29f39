"""The API server's guard room, put together: authenticator, authorizer, admission, the special handlers.

`build_security` wires them over the watch cache (an `ObservableReader` that is loaded) and hands everything to the
request pipeline in one `Security`. `close` ends their subscriptions and connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybernetes.api.meta import Object
from pybernetes.api.resources import SECRETS
from pybernetes.api.user import User
from pybernetes.apiserver.admission.registry import Context, make_plugins
from pybernetes.apiserver.admission.webhooks.caller import WebhookCaller
from pybernetes.apiserver.authentication import RequestAuthenticator
from pybernetes.apiserver.authenticators.bootstrap_tokens import BootstrapTokens
from pybernetes.apiserver.authenticators.chain import TokenAuthenticator, TokenChain
from pybernetes.apiserver.authenticators.front_proxy import FrontProxy, FrontProxyConfig
from pybernetes.apiserver.authenticators.legacy_tokens import LAST_USED, LegacyTokens, NoteUse
from pybernetes.apiserver.authorization import AlwaysAllow, AlwaysDeny, AuthorizerChain
from pybernetes.apiserver.authorization_config import AuthorizationWebhook, Authorizers
from pybernetes.apiserver.bootstrap import APISERVER_USER
from pybernetes.apiserver.connect import PodConnections
from pybernetes.apiserver.impersonation import Impersonator
from pybernetes.apiserver.interfaces import (
    AdmissionPlugin,
    Authorizer,
    ConnectHandler,
    HandlerKey,
    ObjectHandler,
    ObservableReader,
)
from pybernetes.apiserver.kubelets import KubeletTransport
from pybernetes.apiserver.node_authorizer import NodeAuthorizer
from pybernetes.apiserver.outbound import Outbound, WebhookConfig
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.proxy import Proxies
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.apiserver.reviews import Reviews
from pybernetes.apiserver.rule_resolution import RuleResolution
from pybernetes.apiserver.token_requests import TokenRequests
from pybernetes.apiserver.tokens import CLUSTER_ISSUER, ServiceAccountTokens
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tunnel import SocketFactory

if TYPE_CHECKING:
    from pybernetes.apiserver.authenticators.jwt_issuers import JWTIssuerConfig


@dataclass(frozen=True, slots=True)
class TokenWebhookConfig:
    webhook: WebhookConfig
    version: str = "v1beta1"
    cache_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    pki: ClusterPKI
    socket_factory: SocketFactory | None = None
    """Makes the sockets of connections to kubelets, pods and services; None for the server's own network namespace."""
    authorizers: Authorizers = ("Node", "RBAC")
    """Asked in this order; the first that allows or denies decides. AlwaysAllow decides for whoever is left."""
    anonymous: bool | frozenset[str] = True
    """Whether requests without credentials pass as system:anonymous, or on which paths."""
    bootstrap_tokens: bool = True
    """Whether Secrets of type bootstrap.kubernetes.io/token are credentials."""
    jwt_issuers: Sequence[JWTIssuerConfig] = ()
    token_webhook: TokenWebhookConfig | None = None
    front_proxy: FrontProxyConfig | None = None
    issuer: str = CLUSTER_ISSUER
    jwks_uri: str = ""
    """Where others find the issuer's keys, if not below the issuer."""
    audiences: Sequence[str] = ()
    static_tokens: Mapping[str, User] = field(default_factory=dict)
    disabled_plugins: Sequence[str] = ()
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Security:
    """What the request pipeline needs of this room."""

    authenticator: RequestAuthenticator
    """Carries out impersonation too."""
    anonymous: bool | frozenset[str]
    authorizer: Authorizer
    may_ask: bool
    """Whether the authorizer may raise `Undecided`."""
    rbac: RBACAuthorizer
    admission: tuple[AdmissionPlugin, ...]
    object_handlers: dict[HandlerKey, ObjectHandler]
    connect_handlers: dict[HandlerKey, ConnectHandler]
    openid_configuration: Object | None
    """Served at /.well-known/openid-configuration."""
    jwks: Object | None
    """Served at /openid/v1/jwks as application/jwk-set+json."""
    tokens: ServiceAccountTokens
    transport: KubeletTransport
    outbound: Outbound
    webhooks: WebhookCaller
    closers: tuple[Callable[[], None], ...]

    async def close(self) -> None:
        """Ends subscriptions and connections; tunnels under way end with the requests they belong to."""
        for close in self.closers:
            close()
        await self.transport.close()
        await self.webhooks.close()
        await self.outbound.close()


def build_security(config: SecurityConfig, reader: ObservableReader, client_for: Callable[[User], Client]) -> Security:
    """Puts the room together. `reader` is the loaded watch cache; `client_for` makes in-process clients."""
    clock = config.clock
    tokens = ServiceAccountTokens(
        config.pki.service_account_key_pem(), reader, clock, issuer=config.issuer, audiences=config.audiences
    )
    rbac = RBACAuthorizer(reader)
    node = NodeAuthorizer(reader)
    outbound = Outbound()
    authorizer = _authorizer(config, node, rbac, outbound)
    client = client_for(APISERVER_USER)
    webhooks = WebhookCaller(reader, config.socket_factory)
    legacy = LegacyTokens(tokens.key, reader, clock, frozenset(tokens.audiences), _noting(client))
    chain = _token_chain(config, tokens, legacy, reader, outbound)
    front_proxy = FrontProxy(config.front_proxy) if config.front_proxy is not None else None
    authenticator = RequestAuthenticator(
        chain,
        Impersonator(authorizer),
        clock,
        front_proxy=front_proxy,
        client_authorities=[config.pki.ca_certificate] if front_proxy is not None else (),
    )
    plugins = make_plugins(
        Context(reader, client_for, client, authorizer, rbac, clock, webhooks), config.disabled_plugins
    )
    transport = KubeletTransport(config.pki.kubelet_client_context(), config.socket_factory)
    token_requests = TokenRequests(tokens, reader, clock)
    object_handlers: dict[HandlerKey, ObjectHandler] = {
        **Reviews(chain, authorizer, RuleResolution(config.authorizers, rbac), clock).handlers(),
        ("", "serviceaccounts", "token"): token_requests.create,
    }
    return Security(
        authenticator=authenticator,
        anonymous=config.anonymous,
        authorizer=authorizer,
        may_ask=any(isinstance(a, AuthorizationWebhook) for a in config.authorizers),
        rbac=rbac,
        admission=plugins,
        object_handlers=object_handlers,
        connect_handlers={
            **PodConnections(reader, transport, authorizer).handlers(),
            **Proxies(reader, transport).handlers(),
        },
        openid_configuration=tokens.openid_configuration(config.jwks_uri),
        jwks=tokens.jwks() if tokens.openid_configuration() is not None else None,
        tokens=tokens,
        transport=transport,
        outbound=outbound,
        webhooks=webhooks,
        closers=(legacy.close, rbac.close, node.close, *(p.close for p in plugins)),
    )


def _token_chain(
    config: SecurityConfig,
    tokens: ServiceAccountTokens,
    legacy: LegacyTokens,
    reader: ObservableReader,
    outbound: Outbound,
) -> TokenChain:
    """Upstream's order: a file's, service accounts', bootstrap tokens, identity providers', a webhook's."""
    audiences = frozenset(tokens.audiences)
    chain: list[TokenAuthenticator] = []
    # What few servers use is loaded by those that do.
    if config.static_tokens:
        from pybernetes.apiserver.authenticators.static_tokens import StaticTokens

        chain.append(StaticTokens(config.static_tokens, audiences))
    chain += [tokens, legacy]
    if config.bootstrap_tokens:
        chain.append(BootstrapTokens(reader, config.clock, audiences))
    if config.jwt_issuers:
        from pybernetes.apiserver.authenticators.jwt_issuers import JWTIssuer

        chain += [JWTIssuer(issuer, outbound, config.clock, audiences) for issuer in config.jwt_issuers]
    if config.token_webhook is not None:
        from pybernetes.apiserver.authenticators.webhook import WebhookTokens

        hook = config.token_webhook
        chain.append(
            WebhookTokens(
                hook.webhook,
                outbound,
                config.clock,
                audiences,
                version=hook.version,
                cache_seconds=hook.cache_seconds,
            )
        )
    return TokenChain(chain, tokens.audiences)


def _authorizer(
    config: SecurityConfig, node: NodeAuthorizer, rbac: RBACAuthorizer, outbound: Outbound
) -> AuthorizerChain:
    made: list[Authorizer] = []
    for mode in config.authorizers:
        match mode:
            case "Node":
                made.append(node)
            case "RBAC":
                made.append(rbac)
            case "AlwaysAllow":
                made.append(AlwaysAllow())
            case "AlwaysDeny":
                made.append(AlwaysDeny())
            case AuthorizationWebhook():
                from pybernetes.apiserver.webhook_authorizer import WebhookAuthorizer

                made.append(WebhookAuthorizer(mode, outbound, config.clock))
    return AuthorizerChain(made)


def _noting(client: Client) -> NoteUse:
    """Writes on which day a legacy token was last used."""

    async def note(namespace: str, name: str, day: str) -> None:
        await client.patch(SECRETS, name, {"metadata": {"labels": {LAST_USED: day}}}, namespace)

    return note
