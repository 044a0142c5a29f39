"""The audit log: which requests are told about (`policy`), as what (`trail`), and where to (`log`).

A server without an audit policy has none of this: the request path asks one attribute for None.
"""
