"""Admission policies, written in CEL: definitions and bindings (`definitions`), their index (`index`), parameters
(`params`), and the two plugins (`validating`, `mutating`).

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/, the same of
mutating-admission-policy, and upstream's ``pkg/admission/plugin/policy``.
"""
