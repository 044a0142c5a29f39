"""What is changed in an expression's text before it is compiled. Pure.

Some things of Kubernetes' CEL have no counterpart in the runtime and are spelled out in its terms:

- ``variables.NAME`` becomes an identifier of its own, bound to the variable's expression around the whole
  (``cel.bind``), so that variables are lazy, typed and may use each other.
- ``list.indexOf(x)`` shares its name with a function of texts, which cannot be extended: both go by another name.
- Calls that give an optional (of formats) become calls that give a list of at most one, with its optional index.
- ``Object.spec.template{...}`` names a type by the path to it; it becomes a flat type name, ``Object__spec__template``.

Text inside of string literals and comments is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SKIPPED = re.compile(
    r"""
      //[^\n]*
    | [rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\" | '''(?:\\.|[^\\])*?''' | \"(?:\\.|[^\"\\\n])*\" | '(?:\\.|[^'\\\n])*')
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r"(?<![\w.])variables\s*\.\s*([A-Za-z_]\w*)")
_OBJECT = re.compile(r"(?<![\w.])Object((?:\s*\.\s*[A-Za-z_]\w*)*)(?=\s*\{)")
_FIELD = re.compile(r"([A-Za-z_]\w*)\s*:(?!:)")

_INDEX = re.compile(r"\.(\s*)(indexOf|lastIndexOf)(?=\s*\()")

_OPTIONAL = re.compile(r"\.(\s*)(validate)(?=\s*\()|(?<![\w.])(format\s*\.\s*)(named)(?=\s*\()")

NAMED = "k8sNamed"
VALIDATE = "k8sValidate"
INDEX = "k8sIndexOf"
LAST_INDEX = "k8sLastIndexOf"
VARIABLE_PREFIX = "variables__"
OBJECT_PREFIX = "Object_"


def _outside(text: str, change: Callable[[str], str]) -> str:
    """The text with everything but literals and comments changed."""
    parts, at = [], 0
    for match in _SKIPPED.finditer(text):
        parts += [change(text[at : match.start()]), match.group()]
        at = match.end()
    parts.append(change(text[at:]))
    return "".join(parts)


def used_variables(text: str) -> list[str]:
    """The policy variables that an expression names, in order of appearance."""
    found: dict[str, None] = {}

    def look(code: str) -> str:
        found.update(dict.fromkeys(_VARIABLE.findall(code)))
        return code

    _outside(text, look)
    return list(found)


def with_variables(text: str, variables: Mapping[str, str]) -> str:
    """The expression with the variables that it needs bound around it; unknown ones stay as they are."""
    needed: list[str] = []
    _collect(text, variables, needed)
    if not needed:
        return text
    body = _renamed(text, variables)
    for name in reversed(needed):
        # The line break ends a comment that an expression may end with.
        body = f"cel.bind({VARIABLE_PREFIX}{name}, ({_renamed(variables[name], variables)}\n), {body}\n)"
    return body


def _collect(text: str, variables: Mapping[str, str], needed: list[str]) -> None:
    # A variable sees only those before it, so this ends.
    for name in used_variables(text):
        if name in variables and name not in needed:
            earlier = dict(list(variables.items())[: list(variables).index(name)])
            _collect(variables[name], earlier, needed)
            if name not in needed:
                needed.append(name)


def _renamed(text: str, variables: Mapping[str, str]) -> str:
    def rename(match: re.Match[str]) -> str:
        name = match.group(1)
        return VARIABLE_PREFIX + name if name in variables else match.group()

    return _outside(text, lambda code: _VARIABLE.sub(rename, code))


def with_optional_results(text: str) -> str:
    """Calls of functions that cannot give an optional, with the optional index of their list behind them."""
    masked = _SKIPPED.sub(lambda m: "_" * len(m.group()), text)
    for match in reversed(list(_OPTIONAL.finditer(masked))):
        end = _call_end(masked, match.end())
        if end < 0:
            # Not closed: the parser says so.
            continue
        name = f".{match.group(1)}{VALIDATE}" if match.group(2) else match.group(3) + NAMED
        text, masked = (of[: match.start()] + name + of[match.end() : end] + "[?0]" + of[end:] for of in (text, masked))
    return text


def _call_end(masked: str, start: int) -> int:
    """Behind the parenthesis that closes the next one; -1 where there is none."""
    depth = 0
    for at in range(start, len(masked)):
        depth += {"(": 1, ")": -1}.get(masked[at], 0)
        if masked[at] == ")" and depth == 0:
            return at + 1
    return -1


def with_list_functions(text: str) -> str:
    names = {"indexOf": INDEX, "lastIndexOf": LAST_INDEX}
    return _outside(text, lambda code: _INDEX.sub(lambda m: f".{m.group(1)}{names[m.group(2)]}", code))


def flat_objects(text: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """(the expression with flat type names, those names, every field that a literal in it may set)."""
    types: set[str] = set()
    fields: set[str] = set()

    def change(code: str) -> str:
        def flatten(match: re.Match[str]) -> str:
            name = OBJECT_PREFIX + "".join(f"_{part.strip()}" for part in match.group(1).split(".")[1:])
            types.add(name)
            return name

        return _OBJECT.sub(flatten, code)

    changed = _outside(text, change)
    for code in _SKIPPED.split(text):
        fields.update(_FIELD.findall(code))
    return changed, frozenset(types), frozenset(fields)
