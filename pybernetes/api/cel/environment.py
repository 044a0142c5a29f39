"""The environments in which expressions are compiled: variables, types, libraries. Made once each, at first use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pybernetes.api.cel.expression import Scope
from pybernetes.api.cel.libraries import Declarer, addresses, authorization, formats, lists, quantities, texts
from pybernetes.api.cel.messages import Types, common_types

_EXTENSIONS = (
    "bindings", "encoders", "lists", "math", "optional", "sets", "strings", "two-var-comprehensions",
)  # fmt: skip


class Environment:
    def __init__(self, scope: Scope, types: Types, *, object_type: str = "", params_type: str = "") -> None:
        """Objects and parameters are dynamic where no type of them is given."""
        # Loading the runtime maps 14 MB of machine code: not before there is something to compile.
        from cel_expr_python import cel

        self.types = types
        declarer = Declarer(cel)
        for library in (quantities, addresses, texts, formats, lists, authorization):
            library.declare(declarer, types)
        variables: dict[str, Any] = {
            "object": cel.Type(object_type) if object_type else cel.Type.DYN,
            "oldObject": cel.Type(object_type) if object_type else cel.Type.DYN,
            "request": cel.Type("kubernetes.AdmissionRequest"),
            "namespaceObject": cel.Type.DYN,
        }
        if scope.params:
            variables["params"] = cel.Type(params_type) if params_type else cel.Type.DYN
        if scope.authorizer:
            variables["authorizer"] = cel.Type("kubernetes.authorization.Authorizer")
            variables["authorizer.requestResource"] = cel.Type("kubernetes.authorization.ResourceCheck")
        extensions = "".join(f"  - name: {name}\n" for name in _EXTENSIONS)
        self.env = cel.NewEnv(
            descriptor_pool=types.pool,
            config=cel.NewEnvConfigFromYaml(f"name: kubernetes\nextensions:\n{extensions}"),
            variables=variables,
            functions=declarer.declarations(),
        )


@lru_cache(maxsize=8)
def environment(scope: Scope) -> Environment:
    return Environment(scope, common_types())


@lru_cache(maxsize=256)
def mutation_environment(scope: Scope, objects: frozenset[str], fields: frozenset[str]) -> Environment:
    """For a mutation that names these object types and fields."""
    return Environment(scope, Types(objects, fields))
