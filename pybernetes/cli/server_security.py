"""The options of ``p8s server`` that say who may come in and what is kept of it, under the names that upstream's
kube-apiserver has for them.

`security_options` adds them to the command; `SecurityFlags.load` reads the files that they name, and tells what is
wrong with one as the command's own error, before anything is started.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from pybernetes.api.time import parse_duration
from pybernetes.api.user import User
from pybernetes.apiserver import authorization_config
from pybernetes.apiserver.admission.registry import PLUGINS
from pybernetes.apiserver.authenticators.front_proxy import FrontProxyConfig
from pybernetes.apiserver.authorization_config import AuthorizationMode, AuthorizationWebhook, Authorizers
from pybernetes.apiserver.outbound import WebhookConfig, load_webhook
from pybernetes.apiserver.security import TokenWebhookConfig
from pybernetes.apiserver.tokens import CLUSTER_ISSUER
from pybernetes.lib.clock import Clock

if TYPE_CHECKING:
    # What few servers use is loaded by those that do: see `SecurityFlags.load`.
    from pybernetes.apiserver.audit.policy import Policy
    from pybernetes.apiserver.audit.trail import AuditTrail, Sink
    from pybernetes.apiserver.authenticators.jwt_issuers import JWTIssuerConfig
    from pybernetes.apiserver.encryption.config import EncryptionConfig

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A Go duration, such as ``2m0s``; seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Names(click.ParamType):  # type: ignore[type-arg]
    """Words with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(word.strip() for word in str(value).split(",") if word.strip())


_DURATION, _NAMES = Duration(), Names()

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--anonymous-auth", type=bool, default=True, show_default=True, help="Let requests without credentials pass."
    ),
    click.option("--token-auth-file", type=_FILE, help="Static bearer tokens: CSV of token, user, uid, groups."),
    click.option(
        "--enable-bootstrap-token-auth",
        type=bool,
        default=True,
        show_default=True,
        help="Take Secrets of type bootstrap.kubernetes.io/token for credentials.",
    ),
    click.option("--service-account-issuer", default=CLUSTER_ISSUER, show_default=True, help="Who issues tokens."),
    click.option("--service-account-jwks-uri", default="", help="Where its keys are.  [default: below the issuer]"),
    click.option("--api-audiences", type=_NAMES, default=(), help="Whom tokens must be for.  [default: the issuer]"),
    click.option("--authentication-config", type=_FILE, help="An AuthenticationConfiguration: identity providers."),
    click.option("--oidc-issuer-url", default="", help="An identity provider's URL."),
    click.option("--oidc-client-id", default="", help="Whom its tokens must be for."),
    click.option("--oidc-ca-file", type=_FILE, help="Its CA bundle.  [default: the machine's]"),
    click.option("--oidc-username-claim", default="sub", show_default=True, help="The claim that is the user's name."),
    click.option("--oidc-username-prefix", default="", help="Put before the name; '-' for nothing."),
    click.option("--oidc-groups-claim", default="", help="The claim that lists the user's groups."),
    click.option("--oidc-groups-prefix", default="", help="Put before each group."),
    click.option("--oidc-required-claim", multiple=True, help="claim=value that a token must have; repeatable."),
    click.option("--oidc-signing-algs", type=_NAMES, default=("RS256",), help="Algorithms taken.  [default: RS256]"),
    click.option(
        "--authorization-mode",
        type=_NAMES,
        default=(),
        help="Who decides, in this order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny.  [default: Node,RBAC]",
    ),
    click.option("--authorization-config", type=_FILE, help="An AuthorizationConfiguration: who decides."),
    click.option("--authorization-webhook-config-file", type=_FILE, help="The webhook that decides."),
    click.option(
        "--authorization-webhook-version",
        type=click.Choice(["v1", "v1beta1"]),
        default="v1beta1",
        show_default=True,
        help="The SubjectAccessReview it is sent.",
    ),
    click.option(
        "--authorization-webhook-cache-authorized-ttl",
        type=_DURATION,
        default="5m0s",
        show_default=True,
        help="How long its permissions are kept.",
    ),
    click.option(
        "--authorization-webhook-cache-unauthorized-ttl",
        type=_DURATION,
        default="30s",
        show_default=True,
        help="How long its refusals are kept.",
    ),
    click.option("--authentication-token-webhook-config-file", type=_FILE, help="A webhook that knows tokens."),
    click.option(
        "--authentication-token-webhook-version",
        type=click.Choice(["v1", "v1beta1"]),
        default="v1beta1",
        show_default=True,
        help="The TokenReview it is sent.",
    ),
    click.option(
        "--authentication-token-webhook-cache-ttl",
        type=_DURATION,
        default="2m0s",
        show_default=True,
        help="How long its answers are kept.",
    ),
    click.option("--requestheader-client-ca-file", type=_FILE, help="The CA of front proxies."),
    click.option("--requestheader-allowed-names", type=_NAMES, default=(), help="Common names of front proxies."),
    click.option("--requestheader-username-headers", type=_NAMES, default=("X-Remote-User",), help="Who asks."),
    click.option("--requestheader-uid-headers", type=_NAMES, default=(), help="Who asks, by uid."),
    click.option("--requestheader-group-headers", type=_NAMES, default=("X-Remote-Group",), help="Who asks: groups."),
    click.option(
        "--requestheader-extra-headers-prefix", type=_NAMES, default=("X-Remote-Extra-",), help="Who asks: extra."
    ),
    click.option("--disable-admission-plugins", type=_NAMES, default=(), help="Admission plugins to leave out."),
    click.option("--encryption-provider-config", type=_FILE, help="An EncryptionConfiguration: what to seal at rest."),
    click.option("--audit-policy-file", type=_FILE, help="Which requests to tell of in the audit log."),
    click.option("--audit-log-path", default="", help="The audit log's file; '-' for the standard output."),
    click.option("--audit-webhook-config-file", type=_FILE, help="Where to send audit events."),
    click.option(
        "--audit-webhook-batch-max-size", type=click.IntRange(1), default=400, show_default=True, help="Events at once."
    ),
    click.option(
        "--audit-webhook-batch-max-wait",
        type=_DURATION,
        default="30s",
        show_default=True,
        help="How long an event waits for others.",
    ),
    click.option(
        "--audit-webhook-initial-backoff",
        type=_DURATION,
        default="10s",
        show_default=True,
        help="How long to wait before events are sent again.",
    ),
    click.option("--audit-log-maxage", type=click.IntRange(0), default=0, help="Days to keep rotated files.  [all]"),
    click.option("--audit-log-maxbackup", type=click.IntRange(0), default=0, help="Rotated files to keep.  [all]"),
    click.option("--audit-log-maxsize", type=click.IntRange(0), default=0, help="Megabytes of a file.  [100]"),
)


def security_options(command: F) -> F:
    """Adds the options; the command gets them as one argument, `security`."""

    @functools.wraps(command)
    def collected(**given: Any) -> Any:
        mine = {name: given.pop(name) for name in SecurityFlags.__dataclass_fields__}
        return command(security=SecurityFlags(**mine), **given)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class AuditWebhookOptions:
    config: WebhookConfig
    batch_max: int
    max_wait_seconds: float
    initial_backoff_seconds: float


@dataclass(frozen=True, slots=True)
class AuditOptions:
    policy: Policy
    path: str
    """Empty for no file."""
    rotation: tuple[int, int, int]
    """Bytes of a file, days to keep, files to keep; 0 for upstream's defaults."""
    webhook: AuditWebhookOptions | None

    def open(self, clock: Clock, stack: AsyncExitStack) -> AuditTrail:
        """The trail, whose sinks end with the stack. On the running event loop. Raises OSError."""
        from pybernetes.apiserver.audit.log import AuditLog, RotatedFile, Rotation, StandardOutput
        from pybernetes.apiserver.audit.trail import AuditTrail
        from pybernetes.apiserver.audit.webhook import AuditWebhook, Sinks

        sinks: list[Sink] = []
        if self.path:
            rotation = Rotation(*self.rotation)
            target = StandardOutput() if self.path == "-" else RotatedFile(Path(self.path), rotation, clock)
            log = AuditLog(target, clock)
            stack.callback(log.close)
            sinks.append(log)
        if self.webhook is not None:
            hook = self.webhook
            webhook = AuditWebhook(
                hook.config,
                clock,
                batch_max=hook.batch_max,
                max_wait_seconds=hook.max_wait_seconds,
                initial_backoff_seconds=hook.initial_backoff_seconds,
            )
            webhook.start()
            stack.push_async_callback(webhook.close)
            sinks.append(webhook)
        return AuditTrail(self.policy, sinks[0] if len(sinks) == 1 else Sinks(sinks), clock)


@dataclass(frozen=True, slots=True)
class LoadedSecurity:
    """What the options say, read."""

    anonymous: bool | frozenset[str] = True
    bootstrap_tokens: bool = True
    static_tokens: dict[str, User] = field(default_factory=dict)
    issuer: str = CLUSTER_ISSUER
    jwks_uri: str = ""
    audiences: Sequence[str] = ()
    jwt_issuers: tuple[JWTIssuerConfig, ...] = ()
    token_webhook: TokenWebhookConfig | None = None
    front_proxy: FrontProxyConfig | None = None
    authorizers: Authorizers = ("Node", "RBAC")
    encryption: EncryptionConfig | None = None
    audit: AuditOptions | None = None
    disabled_plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityFlags:
    """The options as given."""

    anonymous_auth: bool
    token_auth_file: Path | None
    enable_bootstrap_token_auth: bool
    service_account_issuer: str
    service_account_jwks_uri: str
    api_audiences: tuple[str, ...]
    authentication_config: Path | None
    oidc_issuer_url: str
    oidc_client_id: str
    oidc_ca_file: Path | None
    oidc_username_claim: str
    oidc_username_prefix: str
    oidc_groups_claim: str
    oidc_groups_prefix: str
    oidc_required_claim: tuple[str, ...]
    oidc_signing_algs: tuple[str, ...]
    authorization_mode: tuple[str, ...]
    authorization_config: Path | None
    authorization_webhook_config_file: Path | None
    authorization_webhook_version: str
    authorization_webhook_cache_authorized_ttl: float
    authorization_webhook_cache_unauthorized_ttl: float
    authentication_token_webhook_config_file: Path | None
    authentication_token_webhook_version: str
    authentication_token_webhook_cache_ttl: float
    requestheader_client_ca_file: Path | None
    requestheader_allowed_names: tuple[str, ...]
    requestheader_username_headers: tuple[str, ...]
    requestheader_uid_headers: tuple[str, ...]
    requestheader_group_headers: tuple[str, ...]
    requestheader_extra_headers_prefix: tuple[str, ...]
    disable_admission_plugins: tuple[str, ...]
    encryption_provider_config: Path | None
    audit_policy_file: Path | None
    audit_log_path: str
    audit_webhook_config_file: Path | None
    audit_webhook_batch_max_size: int
    audit_webhook_batch_max_wait: float
    audit_webhook_initial_backoff: float
    audit_log_maxage: int
    audit_log_maxbackup: int
    audit_log_maxsize: int

    def load(self) -> LoadedSecurity:
        """Reads the files. Raises `click.ClickException`."""
        try:
            issuers, anonymous = self._identity_providers()
            return LoadedSecurity(
                anonymous,
                self.enable_bootstrap_token_auth,
                self._static_tokens(),
                self.service_account_issuer,
                self.service_account_jwks_uri,
                self.api_audiences,
                issuers,
                self._token_webhook(),
                self._front_proxy(),
                self._authorizers(),
                self._encryption(),
                self._audit(),
                self._disabled_plugins(),
            )
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error

    def _static_tokens(self) -> dict[str, User]:
        if self.token_auth_file is None:
            return {}
        from pybernetes.apiserver.authenticators import static_tokens

        return static_tokens.load(self.token_auth_file)

    def _encryption(self) -> EncryptionConfig | None:
        if self.encryption_provider_config is None:
            return None
        from pybernetes.apiserver.encryption import config

        return config.load(self.encryption_provider_config)

    def _identity_providers(self) -> tuple[tuple[JWTIssuerConfig, ...], bool | frozenset[str]]:
        if self.authentication_config is None and not self.oidc_issuer_url:
            if self.oidc_client_id:
                raise click.UsageError("oidc-issuer-url and oidc-client-id must be specified together")
            return (), self.anonymous_auth
        from pybernetes.apiserver.authenticators import authentication_config

        if self.authentication_config is not None:
            if self.oidc_issuer_url:
                raise click.UsageError("authentication-config file and oidc-* flags are mutually exclusive")
            config = authentication_config.load(self.authentication_config, [self.service_account_issuer])
            return config.issuers, self.anonymous_auth if config.anonymous is None else config.anonymous
        required = {}
        for pair in self.oidc_required_claim:
            claim, sep, value = pair.partition("=")
            if not sep:
                raise click.UsageError(f"--oidc-required-claim: {pair!r} is no claim=value")
            required[claim] = value
        issuer = authentication_config.from_flags(
            issuer_url=self.oidc_issuer_url,
            client_id=self.oidc_client_id,
            ca_pem=self.oidc_ca_file.read_text() if self.oidc_ca_file else "",
            username_claim=self.oidc_username_claim,
            username_prefix=self.oidc_username_prefix,
            groups_claim=self.oidc_groups_claim,
            groups_prefix=self.oidc_groups_prefix,
            required_claims=required,
            signing_algorithms=self.oidc_signing_algs,
        )
        return (issuer,), self.anonymous_auth

    def _disabled_plugins(self) -> tuple[str, ...]:
        known = {name for name, _ in PLUGINS}
        for name in self.disable_admission_plugins:
            if name not in known:
                raise ValueError(f'disable-admission-plugins plugin "{name}" is unknown')
        return self.disable_admission_plugins

    def _token_webhook(self) -> TokenWebhookConfig | None:
        path = self.authentication_token_webhook_config_file
        if path is None:
            return None
        return TokenWebhookConfig(
            load_webhook(path), self.authentication_token_webhook_version, self.authentication_token_webhook_cache_ttl
        )

    def _front_proxy(self) -> FrontProxyConfig | None:
        if self.requestheader_client_ca_file is None:
            return None
        return FrontProxyConfig(
            self.requestheader_client_ca_file.read_bytes(),
            self.requestheader_allowed_names,
            self.requestheader_username_headers,
            self.requestheader_uid_headers,
            self.requestheader_group_headers,
            self.requestheader_extra_headers_prefix,
        )

    def _authorizers(self) -> Authorizers:
        path = self.authorization_webhook_config_file
        if self.authorization_config is not None:
            if self.authorization_mode or path is not None:
                raise click.UsageError("--authorization-config goes with no other --authorization-... option")
            return authorization_config.load(self.authorization_config)
        modes = self.authorization_mode or ("Node", "RBAC")
        if (path is None) != ("Webhook" not in modes):
            raise click.UsageError("--authorization-mode=Webhook and --authorization-webhook-config-file go together")
        made: list[AuthorizationMode | AuthorizationWebhook] = []
        for mode in modes:
            if mode == "Webhook" and path is not None:
                made.append(
                    AuthorizationWebhook(
                        load_webhook(path),
                        version=self.authorization_webhook_version,
                        authorized_seconds=self.authorization_webhook_cache_authorized_ttl,
                        unauthorized_seconds=self.authorization_webhook_cache_unauthorized_ttl,
                    )
                )
            elif mode in get_args(AuthorizationMode):
                made.append(cast(AuthorizationMode, mode))
            else:
                raise click.UsageError(f'--authorization-mode: "{mode}" is not a valid mode')
        return tuple(made)

    def _audit(self) -> AuditOptions | None:
        hook = self.audit_webhook_config_file
        if self.audit_policy_file is None or not (self.audit_log_path or hook):
            if self.audit_policy_file is not None or self.audit_log_path or hook:
                raise click.UsageError(
                    "--audit-policy-file and --audit-log-path or --audit-webhook-config-file go together"
                )
            return None
        from pybernetes.apiserver.audit import policy

        rotation = (self.audit_log_maxsize * 1024 * 1024, self.audit_log_maxage, self.audit_log_maxbackup)
        webhook = None
        if hook is not None:
            webhook = AuditWebhookOptions(
                load_webhook(hook),
                self.audit_webhook_batch_max_size,
                self.audit_webhook_batch_max_wait,
                self.audit_webhook_initial_backoff,
            )
        return AuditOptions(policy.load(self.audit_policy_file), self.audit_log_path, rotation, webhook)


def check_options(given: Sequence[str]) -> tuple[str, ...]:
    """``name=value`` options for the server, with files by their whole paths. Raises `click.ClickException` for one
    that is none of this module's, or that the server would not take."""

    @click.command("server", context_settings={"ignore_unknown_options": False})
    @security_options
    def probe(security: SecurityFlags) -> None:
        security.load()

    parsers = {option: parameter for parameter in probe.params for option in parameter.opts}
    whole: list[str] = []
    for option in given:
        name, sep, value = option.partition("=")
        parameter = parsers.get(f"--{name}")
        if not sep or parameter is None:
            raise click.UsageError(f"--server-option: {option!r} is no NAME=VALUE of a security option of `p8s server`")
        if isinstance(parameter.type, click.Path) or (name == "audit-log-path" and value != "-"):
            value = str(Path(value).absolute())
        whole.append(f"{name}={value}")
    with probe.make_context("p8s server", [f"--{option}" for option in whole]) as context:
        probe.invoke(context)
    return tuple(whole)
