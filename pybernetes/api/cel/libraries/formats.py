"""Named formats: ``format.dns1123Label().validate("web")`` gives what is wrong, or none.

Functions of this kind cannot give optionals to the runtime. They give a list of at most one value instead, and `source`
puts the optional index behind the call.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pybernetes.api import names
from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types
from pybernetes.api.cel.source import NAMED, VALIDATE

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Check = Callable[[str], list[str]]


def _holds(parse: Callable[[str], object], fault: str) -> Check:
    def check(text: str) -> list[str]:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return [fault]
        return []

    return check


def _uri(text: str) -> object:
    parts = urlsplit(text)
    if (not parts.scheme and not text.startswith("/")) or any(c <= " " for c in text):
        raise ValueError(text)
    return parts.port


def _date_time(text: str) -> object:
    if _DATE_TIME.fullmatch(text) is None:
        raise ValueError(text)
    return datetime.datetime.fromisoformat(text.upper())


FORMATS: dict[str, Check] = {
    "dns1123Label": names.dns_label,
    "dns1123Subdomain": names.dns_subdomain,
    "dns1035Label": names.dns1035_label,
    "qualifiedName": names.qualified_name,
    "dns1123LabelPrefix": lambda text: names.dns_label(text, prefix=True),
    "dns1123SubdomainPrefix": lambda text: names.dns_subdomain(text, prefix=True),
    "dns1035LabelPrefix": lambda text: names.dns1035_label(text, prefix=True),
    "labelValue": names.label_value,
    "uri": _holds(_uri, "invalid URI"),
    "uuid": _holds(uuid.UUID, "does not match the UUID format"),
    "byte": _holds(lambda text: base64.b64decode(text, validate=True), "invalid base64"),
    "date": _holds(datetime.date.fromisoformat, "invalid date"),
    "datetime": _holds(_date_time, "invalid datetime"),
}


def declare(d: Declarer, types: Types) -> None:
    format_, string = d.message("kubernetes.NamedFormat"), d.type.STRING

    def make(name: str) -> Any:
        return types.new("kubernetes.NamedFormat", text=name)

    for name in FORMATS:
        d.add(f"format.{name}", [], format_, lambda name=name: make(name), member=False)
    d.add(
        f"format.{NAMED}", [string], d.type.List(format_), lambda name: [make(name)] if name in FORMATS else [],
        member=False,
    )  # fmt: skip
    d.add(VALIDATE, [format_, string], d.type.List(d.type.List(string)), _validate)


def _validate(wanted: Any, text: str) -> list[list[str]]:
    faults = FORMATS[wanted.text](text)
    return [faults] if faults else []
