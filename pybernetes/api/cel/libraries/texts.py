"""Texts: regular expressions, URLs, semantic versions, keys of JSON pointers.

``find`` and ``findAll`` run on Python's ``re``; a pattern is first shown to the runtime's own engine (RE2's syntax), so
that what upstream refuses is refused here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
_BACKTRACKING = re.compile(r"\(\?(?:=|!|<=|<!|>|\()|\\[1-9]|[*+?}]\+")


def declare(d: Declarer, types: Types) -> None:
    string, integer = d.type.STRING, d.type.INT
    strings = d.type.List(string)
    d.add("find", [string, string], string, _find)
    d.add("findAll", [string, string], strings, lambda text, pattern: _find_all(text, pattern, -1))
    d.add("findAll", [string, string, integer], strings, _find_all)
    d.add("jsonpatch.escapeKey", [string], string, _escape_key, member=False)
    _declare_urls(d, types)
    _declare_versions(d, types)


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    if _BACKTRACKING.search(pattern.replace("\\\\", "")):
        raise ValueError(f"Illegal regex: error parsing regexp: invalid or unsupported Perl syntax: `{pattern}`")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"Illegal regex: error parsing regexp: {error}: `{pattern}`") from error


def _find(text: str, pattern: str) -> str:
    match = _pattern(pattern).search(text)
    return match.group() if match is not None else ""


def _find_all(text: str, pattern: str, limit: int) -> list[str]:
    found: list[str] = []
    for match in _pattern(pattern).finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(match.group())
    return found


def _escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


# URLs


def _declare_urls(d: Declarer, types: Types) -> None:
    url, string, boolean = d.message("kubernetes.URL"), d.type.STRING, d.type.BOOL

    def make(text: str) -> Any:
        _split(text)
        return types.new("kubernetes.URL", text=text)

    d.add("url", [string], url, make, member=False)
    d.add("isURL", [string], boolean, _is_url, member=False)
    d.add("getScheme", [url], string, lambda u: _split(u.text).scheme)
    d.add("getHost", [url], string, lambda u: _split(u.text).netloc.rpartition("@")[2])
    d.add("getHostname", [url], string, lambda u: _hostname(u.text))
    d.add("getPort", [url], string, lambda u: str(_split(u.text).port or ""))
    d.add("getEscapedPath", [url], string, lambda u: _split(u.text).path)
    d.add(
        "getQuery", [url], d.type.Map(string, d.type.List(string)),
        lambda u: parse_qs(_split(u.text).query, keep_blank_values=True),
    )  # fmt: skip


def _split(text: str) -> Any:
    """Of an absolute URL or an absolute path. Raises ValueError."""
    fault = f'URL parse error during conversion from string: parse "{text}": '
    if not text or any(c <= " " or c == "\x7f" for c in text):
        raise ValueError(fault + ("empty url" if not text else "net/url: invalid control character in URL"))
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ValueError(f"{fault}{error}") from error
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(fault + "invalid URI for request")
    return parts


def _is_url(text: str) -> bool:
    try:
        _split(text)
    except ValueError:
        return False
    return True


def _hostname(text: str) -> str:
    host = _split(text).netloc.rpartition("@")[2]
    return unquote(host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0])


# Semantic versions


def _declare_versions(d: Declarer, types: Types) -> None:
    semver, string, boolean, integer = d.message("kubernetes.Semver"), d.type.STRING, d.type.BOOL, d.type.INT

    def make(text: str, normalize: bool = False) -> Any:
        text = _normalized(text) if normalize else text
        if _SEMVER.fullmatch(text) is None:
            raise ValueError(f'failed to parse version "{text}"')
        return types.new("kubernetes.Semver", text=text)

    d.add("semver", [string], semver, make, member=False)
    d.add("semver", [string, boolean], semver, make, member=False)
    d.add("isSemver", [string], boolean, lambda t: _SEMVER.fullmatch(t) is not None, member=False)
    d.add(
        "isSemver", [string, boolean], boolean,
        lambda t, n: _SEMVER.fullmatch(_normalized(t) if n else t) is not None, member=False,
    )  # fmt: skip
    for position, name in enumerate(("major", "minor", "patch")):
        d.add(name, [semver], integer, lambda v, at=position: _order(v.text)[at])
    d.add("isLessThan", [semver, semver], boolean, lambda a, b: _order(a.text) < _order(b.text))
    d.add("isGreaterThan", [semver, semver], boolean, lambda a, b: _order(a.text) > _order(b.text))
    d.add(
        "compareTo", [semver, semver], integer,
        lambda a, b: (_order(a.text) > _order(b.text)) - (_order(a.text) < _order(b.text)),
    )  # fmt: skip


def _normalized(text: str) -> str:
    """Without a leading v and leading zeros, with three numbers."""
    core, mark, rest = text.removeprefix("v"), "", ""
    for i, char in enumerate(core):
        if char in "-+":
            core, mark, rest = core[:i], char, core[i + 1 :]
            break
    numbers = [n.lstrip("0") or "0" if n.isdigit() else n for n in core.split(".")]
    return ".".join(numbers + ["0"] * (3 - len(numbers))) + mark + rest


def _order(text: str) -> tuple[int, int, int, tuple[tuple[int, int, str], ...]]:
    """A key that sorts as semver.org says. Build metadata does not count."""
    match = _SEMVER.fullmatch(text)
    assert match is not None
    major, minor, patch = (int(match.group(i)) for i in (1, 2, 3))
    if match.group(4) is None:
        # After all its pre-releases.
        return major, minor, patch, ((2, 0, ""),)
    parts = match.group(4).split(".")
    return major, minor, patch, tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)
