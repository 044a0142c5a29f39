"""CEL expressions in the API: webhooks' match conditions and admission policies.

The official runtime (``cel-expr-python``) compiles and evaluates; this package gives it Kubernetes' variables, types
and function libraries. The runtime is loaded at the first expression, never before: a cluster without any pays neither
time nor memory. Nothing here does I/O; one thread evaluates.

What upstream's environment has and this one has not: ``string()`` of ip and cidr, the type of ``namespaceObject`` (it
is dynamic here), and cost estimation. Evaluation is bounded by the runtime's budget of iterations instead.
"""
