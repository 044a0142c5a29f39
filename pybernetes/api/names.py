"""What names, labels, keys, ports and addresses may look like, in upstream's words.

Every function takes the value and returns the list of what is wrong with it: empty where nothing is. Pure.
Lengths count bytes of UTF-8, as upstream counts them.

Source of rules and texts: ``k8s.io/apimachinery/pkg/util/validation``, ``pkg/api/validate/content`` and
``pkg/api/validation/path``.
"""

from __future__ import annotations

import ipaddress
import re

DNS_LABEL_MAX_BYTES = 63
DNS_SUBDOMAIN_MAX_BYTES = 253
LABEL_VALUE_MAX_BYTES = 63
PORT_NAME_MAX_BYTES = 15

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = _LABEL_UNDERSCORE + r"(\." + _LABEL_UNDERSCORE + ")*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _SUBDOMAIN
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(" + _QUALIFIED + ")?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_ENV_VAR = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_PERCENT = "[0-9]+%"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

_LABEL_RE = re.compile(_LABEL)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN)
_SUBDOMAIN_UNDERSCORE_RE = re.compile(_SUBDOMAIN_UNDERSCORE)
_DNS1035_RE = re.compile(_DNS1035)
_WILDCARD_RE = re.compile(_WILDCARD)
_QUALIFIED_RE = re.compile(_QUALIFIED)
_LABEL_VALUE_RE = re.compile(_LABEL_VALUE)
_C_IDENTIFIER_RE = re.compile(_C_IDENTIFIER)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY)
_ENV_VAR_RE = re.compile(_ENV_VAR)
_PERCENT_RE = re.compile(_PERCENT)
_HTTP_HEADER_RE = re.compile(_HTTP_HEADER)
_HTTP_PATH_RE = re.compile(_HTTP_PATH)
_PORT_CHARSET_RE = re.compile("[-a-z0-9]+")
_PORT_LETTER_RE = re.compile("[a-z]")

EMPTY = "must be non-empty"
PORT_NUMBER = "must be between 1 and 65535, inclusive"
IP_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

_DNS_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_UNDERSCORE_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_C_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', "
    "followed by a string of alphanumeric characters or '_'"
)
_CONFIG_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_ENV_VAR_TEXT = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
    "and must not start with a digit"
)
_RELAXED_ENV_VAR_TEXT = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)
_PERCENT_TEXT = "a valid percent string must be a numeric string followed by an ending '%'"
_HTTP_HEADER_TEXT = "a valid HTTP header must consist of alphanumeric characters or '-'"


def regex_error(text: str, pattern: str, *examples: str) -> str:
    """A message of a value that misses a pattern, as upstream's RegexError words it."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{e}', " for e in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def range_error(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _too_long(value: str, limit: int) -> bool:
    # Bytes are at most four times the characters: most values need no encoding to be judged.
    return len(value) > limit or (not value.isascii() and len(value.encode()) > limit)


def _characters(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _bytes(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _mask_trailing_dash(name: str) -> str:
    """A generateName may end in a dash, since more characters will follow."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


def dns_label(name: str, *, prefix: bool = False) -> list[str]:
    """A DNS label of RFC 1123: names of namespaces, services' ports, containers."""
    if prefix:
        name = _mask_trailing_dash(name)
    errors = [_characters(DNS_LABEL_MAX_BYTES)] if _too_long(name, DNS_LABEL_MAX_BYTES) else []
    if not _LABEL_RE.fullmatch(name):
        if _SUBDOMAIN_RE.fullmatch(name):
            errors.append("must not contain dots")
        else:
            errors.append(regex_error(_DNS_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return errors


def dns_subdomain(name: str, *, prefix: bool = False) -> list[str]:
    """A DNS subdomain of RFC 1123: the names of most objects."""
    if prefix:
        name = _mask_trailing_dash(name)
    errors = [_characters(DNS_SUBDOMAIN_MAX_BYTES)] if _too_long(name, DNS_SUBDOMAIN_MAX_BYTES) else []
    if not _SUBDOMAIN_RE.fullmatch(name):
        errors.append(regex_error(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return errors


def dns_subdomain_with_underscore(name: str) -> list[str]:
    """As `dns_subdomain` with underscores allowed: search domains of a pod's DNS configuration."""
    errors = [_characters(DNS_SUBDOMAIN_MAX_BYTES)] if _too_long(name, DNS_SUBDOMAIN_MAX_BYTES) else []
    if not _SUBDOMAIN_UNDERSCORE_RE.fullmatch(name):
        errors.append(regex_error(_SUBDOMAIN_UNDERSCORE_TEXT, _SUBDOMAIN_UNDERSCORE, "example.com"))
    return errors


def dns1035_label(name: str, *, prefix: bool = False) -> list[str]:
    """A DNS label of RFC 1035, which starts with a letter: the names of Services before 1.34."""
    if prefix:
        name = _mask_trailing_dash(name)
    errors = [_characters(DNS_LABEL_MAX_BYTES)] if _too_long(name, DNS_LABEL_MAX_BYTES) else []
    if not _DNS1035_RE.fullmatch(name):
        errors.append(regex_error(_DNS1035_TEXT, _DNS1035, "my-name", "abc-123"))
    return errors


def wildcard_dns_subdomain(name: str) -> list[str]:
    """``*.`` and a DNS subdomain: hosts of ingress rules."""
    errors = [_characters(DNS_SUBDOMAIN_MAX_BYTES)] if _too_long(name, DNS_SUBDOMAIN_MAX_BYTES) else []
    if not _WILDCARD_RE.fullmatch(name):
        errors.append(regex_error(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return errors


def qualified_name(value: str) -> list[str]:
    """A label key: a name, or a DNS subdomain, a slash and a name."""
    before, slash, name = value.rpartition("/")
    if "/" in before:
        return [
            "a valid label key "
            + regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    errors: list[str] = []
    if slash:
        if not before:
            errors.append("prefix part " + EMPTY)
        else:
            if _too_long(before, DNS_SUBDOMAIN_MAX_BYTES):
                errors.append("prefix part " + _bytes(DNS_SUBDOMAIN_MAX_BYTES))
            if not _SUBDOMAIN_RE.fullmatch(before):
                errors.append("prefix part " + regex_error(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    if not name:
        errors.append("name part " + EMPTY)
    elif _too_long(name, LABEL_VALUE_MAX_BYTES):
        errors.append("name part " + _bytes(LABEL_VALUE_MAX_BYTES))
    if not _QUALIFIED_RE.fullmatch(name):
        errors.append("name part " + regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return errors


def label_value(value: str) -> list[str]:
    errors = [_bytes(LABEL_VALUE_MAX_BYTES)] if _too_long(value, LABEL_VALUE_MAX_BYTES) else []
    if not _LABEL_VALUE_RE.fullmatch(value):
        errors.append(regex_error(_LABEL_VALUE_TEXT, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return errors


def path_segment_name(name: str, *, prefix: bool = False) -> list[str]:
    """A name that fits into one segment of a URL's path: roles, role bindings and the like."""
    if not prefix and name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{c}'" for c in ("/", "%") if c in name]


def iana_svc_name(value: str) -> list[str]:
    """The name of a port, as RFC 6335 has service names."""
    errors = [_characters(PORT_NAME_MAX_BYTES)] if _too_long(value, PORT_NAME_MAX_BYTES) else []
    if not _PORT_CHARSET_RE.fullmatch(value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _PORT_LETTER_RE.search(value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else [PORT_NUMBER]


def in_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [range_error(low, high)]


def user_id(value: int) -> list[str]:
    """A Unix uid or gid."""
    return in_range(value, 0, 2**31 - 1)


def c_identifier(value: str) -> list[str]:
    if _C_IDENTIFIER_RE.fullmatch(value):
        return []
    return [regex_error(_C_IDENTIFIER_TEXT, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def percent(value: str) -> list[str]:
    return [] if _PERCENT_RE.fullmatch(value) else [regex_error(_PERCENT_TEXT, _PERCENT, "1%", "93%")]


def http_header_name(value: str) -> list[str]:
    if _HTTP_HEADER_RE.fullmatch(value):
        return []
    return [regex_error(_HTTP_HEADER_TEXT, _HTTP_HEADER, "X-Header-Name")]


def http_path(value: str) -> list[str]:
    return [] if _HTTP_PATH_RE.fullmatch(value) else [regex_error("Invalid path", _HTTP_PATH)]


def _change_directory(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def config_map_key(value: str) -> list[str]:
    """A key of a ConfigMap's or Secret's data, which may become a file's name."""
    errors = [_characters(DNS_SUBDOMAIN_MAX_BYTES)] if _too_long(value, DNS_SUBDOMAIN_MAX_BYTES) else []
    if not _CONFIG_KEY_RE.fullmatch(value):
        errors.append(regex_error(_CONFIG_KEY_TEXT, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return errors + _change_directory(value)


def env_var_name(value: str) -> list[str]:
    """An environment variable's name as the API takes it since 1.34: printable ASCII without ``=``."""
    errors = [] if value else ["environment variable name " + EMPTY]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        errors.append(_RELAXED_ENV_VAR_TEXT)
    return errors


def strict_env_var_name(value: str) -> list[str]:
    """The narrower form: what ``envFrom`` may take over from a key, and prefixes' form before 1.34."""
    errors = []
    if not _ENV_VAR_RE.fullmatch(value):
        errors.append(regex_error(_ENV_VAR_TEXT, _ENV_VAR, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return errors + _change_directory(value)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _without_leading_zeros(address: str) -> str:
    # The API has always read 010.0.0.1 as 10.0.0.1; Python refuses it as ambiguous.
    if ":" in address:
        return address
    return ".".join(
        part.lstrip("0") or "0" if part.isascii() and part.isdigit() else part for part in address.split(".")
    )


def parse_ip(value: str) -> Address | None:
    """The address, None where it is none. Leading zeros are decimal; an IPv4-mapped IPv6 address is its IPv4 one."""
    if "%" in value:
        return None
    try:
        address = ipaddress.ip_address(_without_leading_zeros(value))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_cidr(value: str) -> Network | None:
    """The network (host bits cleared), None where it is none. A netmask is not a prefix length."""
    address, slash, length = value.partition("/")
    if not slash or not (length.isascii() and length.isdigit()) or "%" in address:
        return None
    try:
        return ipaddress.ip_network(f"{_without_leading_zeros(address)}/{int(length)}", strict=False)
    except ValueError:
        return None


def _spelled_address(value: str) -> Address | None:
    """The address as every parser reads it, None for a spelling that some refuse."""
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def is_ip(value: str) -> list[str]:
    """An address that all parsers understand alike (KEP-4858)."""
    if parse_ip(value) is None:
        return [IP_ADDRESS]
    spelled = _spelled_address(value)
    if spelled is None:
        return ["must not have leading 0s"]
    if isinstance(spelled, ipaddress.IPv6Address) and spelled.ipv4_mapped is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return []


def cidr(value: str) -> list[str]:
    """A network that all parsers understand alike (KEP-4858)."""
    network = parse_cidr(value)
    if network is None:
        return [CIDR]
    base, _, length = value.partition("/")
    spelled = _spelled_address(base)
    if spelled is None or (len(length) > 1 and length.startswith("0")):
        return ["must not have leading 0s in IP or prefix length"]
    if isinstance(spelled, ipaddress.IPv6Address) and spelled.ipv4_mapped is not None:
        return ["must not have an IPv4-mapped IPv6 address"]
    if spelled != network.network_address:
        return ["must not have bits set beyond the prefix length"]
    return []
