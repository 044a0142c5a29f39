"""Names, labels and addresses: accepted and refused ones, and the texts a user sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import names


def test_dns_label_texts() -> None:
    assert names.dns_label("web-1") == []
    assert names.dns_label("a.b") == ["must not contain dots"]
    assert names.dns_label("Web") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.dns_label("a" * 64) == ["must be no more than 63 characters"]


def test_prefix_may_end_in_a_dash() -> None:
    assert names.dns_subdomain("web-", prefix=True) == []
    assert names.dns_subdomain("web-")
    assert names.dns_label("-", prefix=True)


def test_subdomain_text() -> None:
    assert names.dns_subdomain("a.b-c.d") == []
    assert names.dns_subdomain("a..b") == [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]
    assert names.dns_subdomain("web\n")


def test_service_name_starts_with_a_letter() -> None:
    assert names.dns1035_label("1web")
    assert names.dns1035_label("web1") == []


@pytest.mark.parametrize("key", ["app", "app.kubernetes.io/name", "a_b.c-d", "X"])
def test_label_keys(key: str) -> None:
    assert names.qualified_name(key) == []


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("", "name part must be non-empty"),
        ("/x", "prefix part must be non-empty"),
        ("x/", "name part must be non-empty"),
        ("A/x", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/b/c", "a valid label key must consist of"),
        ("x" * 64, "name part must be no more than 63 bytes"),
        ("ö" * 32, "name part must be no more than 63 bytes"),
        ("-x", "name part must consist of"),
    ],
)
def test_bad_label_keys(key: str, start: str) -> None:
    assert names.qualified_name(key)[0].startswith(start)


def test_label_values() -> None:
    assert names.label_value("") == []
    assert names.label_value("A-b_c.1") == []
    assert names.label_value("a b")[0].startswith("a valid label must be an empty string or consist of")
    assert names.label_value("x" * 64) == ["must be no more than 63 bytes"]


def test_path_segments() -> None:
    assert names.path_segment_name("system:node") == []
    assert names.path_segment_name("..") == ["may not be '..'"]
    assert names.path_segment_name("..", prefix=True) == []
    assert names.path_segment_name("a/b%c") == ["may not contain '/'", "may not contain '%'"]


def test_port_names_and_numbers() -> None:
    assert names.iana_svc_name("http") == []
    assert names.iana_svc_name("80") == ["must contain at least one letter (a-z)"]
    assert names.iana_svc_name("-a--b") == [
        "must not contain consecutive hyphens",
        "must not begin or end with a hyphen",
    ]
    assert names.iana_svc_name("a" * 16) == ["must be no more than 15 characters"]
    assert names.port_number(0) == ["must be between 1 and 65535, inclusive"]
    assert names.port_number(65535) == []


def test_keys_and_env_names() -> None:
    assert names.config_map_key("a.b_c-D") == []
    assert names.config_map_key("..") == ["must not be '..'"]
    assert names.config_map_key("..a") == ["must not start with '..'"]
    assert names.config_map_key("a/b")[0].startswith("a valid config key must consist of")
    assert names.env_var_name("MY-VAR 1") == []
    assert names.env_var_name("") == ["environment variable name must be non-empty"]
    assert names.env_var_name("A=B")[0].startswith("a valid environment variable name must consist only of printable")
    assert names.strict_env_var_name("1A")


@pytest.mark.parametrize("value", ["10.0.0.1", "::1", "2001:db8::1", "2001:0db8::0001"])
def test_addresses(value: str) -> None:
    assert names.is_ip(value) == []


@pytest.mark.parametrize("value", ["", "10.0.0", "10.0.0.256", "fe80::1%eth0", "10.0.0.1/24", " 10.0.0.1"])
def test_bad_addresses(value: str) -> None:
    assert names.is_ip(value) == ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def test_addresses_that_some_read_otherwise() -> None:
    assert names.is_ip("010.0.0.1") == ["must not have leading 0s"]
    assert names.is_ip("::ffff:1.2.3.4") == ["must not be an IPv4-mapped IPv6 address"]
    assert names.cidr("10.1.2.3/8") == ["must not have bits set beyond the prefix length"]
    for leading in ("10.0.0.0/08", "010.0.0.0/8"):
        assert names.cidr(leading) == ["must not have leading 0s in IP or prefix length"]
    assert names.cidr("::ffff:10.0.0.0/104") == ["must not have an IPv4-mapped IPv6 address"]


def test_cidrs() -> None:
    assert names.cidr("10.0.0.0/8") == []
    assert names.cidr("2001:db8::/64") == []
    assert str(names.parse_cidr("10.1.2.3/8")) == "10.0.0.0/8"
    for bad in ("10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "::/129", "10.0.0.0/+8"):
        assert names.cidr(bad) == ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


@given(st.text(max_size=300))
def test_a_label_is_a_subdomain(text: str) -> None:
    """Whatever is a DNS label is a DNS subdomain, and a label's value; nothing raises."""
    if not names.dns_label(text):
        assert not names.dns_subdomain(text)
        assert not names.label_value(text)
    for check in (names.qualified_name, names.config_map_key, names.env_var_name, names.is_ip, names.cidr):
        check(text)
