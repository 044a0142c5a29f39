"""The API server's guard room, put together: authenticator, authorizer, admission, the special handlers.

`build_security` wires them over the watch cache (an `ObservableReader` that is loaded) and hands everything to the
request pipeline in one `Security`. `close` ends their subscriptions and connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pybernetes.api.meta import Object
from pybernetes.api.user import User
from pybernetes.apiserver.admission.registry import Context, make_plugins
from pybernetes.apiserver.authentication import RequestAuthenticator
from pybernetes.apiserver.authorization import AlwaysAllow, AuthorizerChain
from pybernetes.apiserver.bootstrap import APISERVER_USER
from pybernetes.apiserver.connect import PodConnections
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
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.proxy import Proxies
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.apiserver.reviews import Reviews
from pybernetes.apiserver.tokens import CLUSTER_ISSUER, ServiceAccountTokens, TokenRequests
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tunnel import SocketFactory


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    pki: ClusterPKI
    socket_factory: SocketFactory | None = None
    """Makes the sockets of connections to kubelets, pods and services; None for the server's own network namespace."""
    authorization_mode: Literal["RBAC", "AlwaysAllow"] = "RBAC"
    anonymous: bool = True
    """Whether requests without credentials pass as system:anonymous."""
    issuer: str = CLUSTER_ISSUER
    audiences: Sequence[str] = ()
    static_tokens: Mapping[str, User] = field(default_factory=dict)
    disabled_plugins: Sequence[str] = ()
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Security:
    """What the request pipeline needs of this room."""

    authenticator: RequestAuthenticator
    """Carries out impersonation too."""
    anonymous: bool
    authorizer: Authorizer
    rbac: RBACAuthorizer
    admission: tuple[AdmissionPlugin, ...]
    object_handlers: dict[HandlerKey, ObjectHandler]
    connect_handlers: dict[HandlerKey, ConnectHandler]
    openid_configuration: Object
    """Served at /.well-known/openid-configuration."""
    jwks: Object
    """Served at /openid/v1/jwks as application/jwk-set+json."""
    tokens: ServiceAccountTokens
    transport: KubeletTransport
    closers: tuple[Callable[[], None], ...]

    async def close(self) -> None:
        """Ends subscriptions and connections; tunnels under way end with the requests they belong to."""
        await self.transport.close()
        for close in self.closers:
            close()


def build_security(config: SecurityConfig, reader: ObservableReader, client_for: Callable[[User], Client]) -> Security:
    """Puts the room together. `reader` is the loaded watch cache; `client_for` makes in-process clients."""
    clock = config.clock
    tokens = ServiceAccountTokens(
        config.pki.service_account_key_pem(), reader, clock, issuer=config.issuer, audiences=config.audiences
    )
    rbac = RBACAuthorizer(reader)
    node = NodeAuthorizer(reader)
    authorizer: Authorizer = (
        AlwaysAllow() if config.authorization_mode == "AlwaysAllow" else AuthorizerChain([node, rbac])
    )
    authenticator = RequestAuthenticator(tokens, authorizer, clock, static_tokens=config.static_tokens)
    client = client_for(APISERVER_USER)
    plugins = make_plugins(Context(reader, client_for, client, authorizer, rbac, clock), config.disabled_plugins)
    transport = KubeletTransport(config.pki.kubelet_client_context(), config.socket_factory)
    token_requests = TokenRequests(tokens, reader, clock)
    object_handlers: dict[HandlerKey, ObjectHandler] = {
        **Reviews(tokens, authorizer, rbac, clock).handlers(),
        ("", "serviceaccounts", "token"): token_requests.create,
    }
    return Security(
        authenticator=authenticator,
        anonymous=config.anonymous,
        authorizer=authorizer,
        rbac=rbac,
        admission=plugins,
        object_handlers=object_handlers,
        connect_handlers={
            **PodConnections(reader, transport, authorizer).handlers(),
            **Proxies(reader, transport).handlers(),
        },
        openid_configuration=tokens.openid_configuration(),
        jwks=tokens.jwks(),
        tokens=tokens,
        transport=transport,
        closers=(rbac.close, node.close, *(p.close for p in plugins)),
    )
