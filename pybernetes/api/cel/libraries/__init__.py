"""Kubernetes' CEL function libraries, one module each: `functions(cel, types)` gives the declarations.

Source: https://kubernetes.io/docs/reference/using-api/cel/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Impl = Callable[..., Any]


class Declarer:
    """Collects declarations; the overloads of one name together, as the runtime wants them.

    The checker tells message types apart, the runtime does not: where two overloads differ in those alone, the first
    one's implementation is called for both, and finds the right one by the messages it gets.
    """

    def __init__(self, cel: Any) -> None:
        self._cel = cel
        self._overloads: dict[str, list[Any]] = {}
        self._impls: dict[tuple[str, bool, tuple[str, ...]], dict[tuple[str, ...], Impl]] = {}
        self.type = cel.Type

    def message(self, name: str) -> Any:
        return self.type(name)

    def add(self, name: str, parameters: Sequence[Any], result: Any, impl: Impl, *, member: bool = True) -> None:
        names = tuple(str(p) for p in parameters)
        messages = tuple(str(p) if p.is_message() else "" for p in parameters)
        kinds = tuple("" if p.is_message() else text for p, text in zip(parameters, names, strict=True))
        impls = self._impls.setdefault((name, member, kinds), {})
        chosen: dict[str, Any] = {}
        if not impls:
            chosen["impl"] = _dispatcher(impls) if any(messages) else impl
        impls[messages] = impl
        self._overloads.setdefault(name, []).append(
            self._cel.Overload(
                f"k8s_{name.replace('.', '_')}_{'_'.join(names)}_{int(member)}",
                return_type=result,
                parameters=list(parameters),
                is_member=member,
                **chosen,
            )
        )

    def declarations(self) -> list[Any]:
        return [self._cel.FunctionDecl(name, overloads) for name, overloads in self._overloads.items()]


def _dispatcher(impls: dict[tuple[str, ...], Impl]) -> Impl:
    def call(*arguments: Any) -> Any:
        found = tuple(a.DESCRIPTOR.full_name if hasattr(a, "DESCRIPTOR") else "" for a in arguments)
        impl = impls.get(found)
        if impl is None:
            raise ValueError("no such overload")
        return impl(*arguments)

    return call
