"""Patches of objects: JSON Patch (`json_patch`), JSON Merge Patch (`merge`), strategic merge patch (`strategic`) and
server-side apply with its field managers (`apply`).

All are pure: the live object is shared with caches and stays as it is; the result is a new object, not yet checked
against its type (`pybernetes.api.schema.decode.decode_patched` does that).
"""
