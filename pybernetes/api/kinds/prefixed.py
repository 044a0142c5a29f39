"""Names with a domain: paths behind one (``example.com/signer``), and names of three parts and more.

Source of rules and texts: ``k8s.io/apimachinery/pkg/util/validation``. Pure.
"""

from __future__ import annotations

import json

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults


def domain_prefixed_path(faults: Faults, path: str, value: str) -> None:
    """``acme.io/foo``: upstream's IsDomainPrefixedPath."""
    if not value:
        faults.required(path)
        return
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        faults.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    faults.each(path, domain, names.dns_subdomain(domain))
    faults.each(path, rest, names.http_path(rest))


def fully_qualified_name(faults: Faults, path: str, value: str) -> None:
    """``hook.example.com``: upstream's IsFullyQualifiedName."""
    if not value:
        faults.required(path)
        return
    messages = names.dns_subdomain(value)
    if messages:
        faults.invalid(path, value, ",".join(messages))
    elif value.count(".") < 2:
        faults.invalid(path, value, "should be a domain with at least three segments separated by dots")


def fully_qualified_domain_name(faults: Faults, path: str, value: str) -> None:
    """``example.com``, with a final dot or without: upstream's IsFullyQualifiedDomainName."""
    if not value:
        faults.required(path)
        return
    domain = value.removesuffix(".")
    messages = names.dns_subdomain(domain)
    if messages:
        faults.invalid(path, domain, ",".join(messages))
    elif "." not in domain:
        faults.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    else:
        for label in domain.split("."):
            messages = names.dns_label(label)
            if messages:
                faults.invalid(path, label, ",".join(messages))
                return


_DOMAIN_MAX = 253
_SIGNER_MAX = _DOMAIN_MAX + 1 + _DOMAIN_MAX + 1 + 63


def signer_name(faults: Faults, path: str, signer: str) -> None:
    """``example.com/my-signer``: a domain of at least two labels, and a path."""
    if not signer:
        faults.required(path)
        return
    domain, slash, rest = signer.partition("/")
    if not slash or "/" in rest:
        faults.invalid(path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    if len(domain) > _DOMAIN_MAX:
        faults.too_long(path, _DOMAIN_MAX)
    labels = domain.split(".")
    for label in labels:
        for message in names.dns_label(label):
            faults.invalid(path, domain, f"validating label {json.dumps(label)}: {message}")
    if len(labels) < 2:
        faults.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for label in rest.split("."):
        for message in names.dns_subdomain(label):
            faults.invalid(path, rest, f"validating label {json.dumps(label)}: {message}")
    if len(signer) > _SIGNER_MAX:
        faults.too_long(path, _SIGNER_MAX)
