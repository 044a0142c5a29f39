"""The user's kubeconfig: a cluster's context goes in at `up` and out at `down`; everything else in it stays.

Files are chosen as kubectl chooses them (KUBECONFIG is a list; its first existing file is written, else its last;
without it ~/.kube/config) and edited as YAML nodes, so that other entries keep their order and the very spelling of
their values (comments are lost). A file is replaced atomically, with mode 0600 and its owner, under the same
``FILE.lock`` that kubectl takes. Under sudo, the files are those of the user who called it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pybernetes.cluster.errors import ClusterError

_LOCK_WAIT_SECONDS = 5.0
_SECTIONS = ("clusters", "contexts", "users")


class KubeconfigError(ClusterError):
    """A kubeconfig cannot be read, or is none; it is left as it was."""


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """How the administrator reaches the cluster; certificates and key as PEM."""

    server: str
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes


def document(context: str, access: AdminAccess) -> dict[str, Any]:
    """A complete kubeconfig with one context, which is current."""
    entries = _entries(context, access)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        **{section: [entries[section]] for section in _SECTIONS},
        "current-context": context,
    }


def _entries(context: str, access: AdminAccess) -> dict[str, dict[str, Any]]:
    def encoded(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    return {
        "clusters": {
            "name": context,
            "cluster": {"certificate-authority-data": encoded(access.ca_pem), "server": access.server},
        },
        "contexts": {"name": context, "context": {"cluster": context, "user": context}},
        "users": {
            "name": context,
            "user": {
                "client-certificate-data": encoded(access.certificate_pem),
                "client-key-data": encoded(access.key_pem),
            },
        },
    }


def dump(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, width=1 << 20)


def paths(environment: Mapping[str, str] | None = None) -> list[Path]:
    """The kubeconfig files in kubectl's order of precedence."""
    env = os.environ if environment is None else environment
    listed = [Path(p) for p in env.get("KUBECONFIG", "").split(os.pathsep) if p]
    return list(dict.fromkeys(listed)) or [_home(env) / ".kube" / "config"]


def _home(env: Mapping[str, str]) -> Path:
    caller = _caller(env)
    if caller is not None:
        return Path(caller.pw_dir)
    return Path(env.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)


def _caller(env: Mapping[str, str]) -> pwd.struct_passwd | None:
    """Who called sudo, where this runs under it."""
    if os.geteuid() != 0 or not env.get("SUDO_UID", "").isdigit() or env["SUDO_UID"] == "0":
        return None
    try:
        return pwd.getpwuid(int(env["SUDO_UID"]))
    except KeyError:
        return None


def file_to_write(files: list[Path]) -> Path:
    return next((f for f in files if f.exists()), files[-1])


def merge(context: str, access: AdminAccess, environment: Mapping[str, str] | None = None) -> Path:
    """Puts the context in and makes it current; returns the file written. An entry of the same name is replaced
    where it is, in whichever file that is; current-context goes to the file that kubectl would write."""
    env = os.environ if environment is None else environment
    files = paths(env)
    target = file_to_write(files)
    for file in files:
        if file != target and file.exists():
            # A stale entry of an earlier cluster in another file could win over the new one.
            _edit(file, lambda root: _drop(root, context, unset_current=False), env)

    def change(root: yaml.MappingNode) -> bool:
        for section, entry in _entries(context, access).items():
            _put(_section(root, section), entry)
        _set_scalar(root, "current-context", context)
        return True

    _edit(target, change, env)
    return target


def remove(context: str, environment: Mapping[str, str] | None = None) -> list[Path]:
    """Takes the context's entries out of every file, and unsets current-context where it was ours; returns the files
    changed. A file that cannot be read is left alone: `down` goes on."""
    env = os.environ if environment is None else environment
    changed = []
    for file in paths(env):
        if file.exists():
            with contextlib.suppress(KubeconfigError):
                if _edit(file, lambda root: _drop(root, context, unset_current=True), env):
                    changed.append(file)
    return changed


def _edit(file: Path, change: Any, env: Mapping[str, str]) -> bool:
    """Applies a change to the document's root node; the file is written only where the change says so."""
    _make_directory(file.parent, env)
    # A link stays a link: what it points to is replaced.
    file = Path(os.path.realpath(file))
    with _locked(file):
        root = _parse(file)
        if not change(root):
            return False
        text = yaml.serialize(root, Dumper=yaml.SafeDumper, width=1 << 20)
        _replace(file, text or "", env)
        return True


def _parse(file: Path) -> yaml.MappingNode:
    try:
        text = file.read_text()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"cannot read {file}: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise KubeconfigError(
            f"{file} is no YAML: {error}", hint="repair it, or set KUBECONFIG to another file"
        ) from error
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null"):
        empty = {"apiVersion": "v1", "kind": "Config", "preferences": {}, "clusters": [], "contexts": [], "users": []}
        root = _node(empty)
    if not isinstance(root, yaml.MappingNode):
        raise KubeconfigError(f"{file} is no kubeconfig", hint="repair it, or set KUBECONFIG to another file")
    return root


def _node(value: Any) -> yaml.Node:
    node = yaml.compose(dump(value), Loader=yaml.SafeLoader)
    assert node is not None
    return node


def _find(mapping: yaml.MappingNode, key: str) -> int | None:
    """The position of the key, None where it is not there."""
    return next((i for i, (k, _) in enumerate(mapping.value) if k.value == key), None)


def _section(root: yaml.MappingNode, section: str) -> yaml.SequenceNode:
    position = _find(root, section)
    if position is not None and isinstance(root.value[position][1], yaml.SequenceNode):
        found: yaml.SequenceNode = root.value[position][1]
        return found
    made = yaml.SequenceNode("tag:yaml.org,2002:seq", [], flow_style=False)
    if position is None:
        root.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", section), made))
    else:  # ``clusters: null``, as older tools write it.
        root.value[position] = (root.value[position][0], made)
    return made


def _name(entry: yaml.Node) -> str:
    if not isinstance(entry, yaml.MappingNode):
        return ""
    position = _find(entry, "name")
    return "" if position is None else str(entry.value[position][1].value)


def _put(section: yaml.SequenceNode, entry: dict[str, Any]) -> None:
    node = _node(entry)
    for position, existing in enumerate(section.value):
        if _name(existing) == entry["name"]:
            section.value[position] = node
            return
    section.flow_style = False
    section.value.append(node)


def _set_scalar(root: yaml.MappingNode, key: str, value: str) -> None:
    node = _node({key: value})
    assert isinstance(node, yaml.MappingNode)
    position = _find(root, key)
    if position is None:
        root.value.append(node.value[0])
    else:
        root.value[position] = node.value[0]


def _drop(root: yaml.MappingNode, context: str, *, unset_current: bool) -> bool:
    changed = False
    for section in _SECTIONS:
        if (position := _find(root, section)) is None:
            continue
        sequence = root.value[position][1]
        if isinstance(sequence, yaml.SequenceNode):
            kept = [entry for entry in sequence.value if _name(entry) != context]
            if len(kept) != len(sequence.value):
                sequence.value, changed = kept, True
                if not kept:
                    sequence.flow_style = True
    position = _find(root, "current-context")
    if unset_current and position is not None and root.value[position][1].value == context:
        _set_scalar(root, "current-context", "")
        changed = True
    return changed


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """kubectl's own lock: a file that must not exist yet. It has no event to wait for, hence the short naps."""
    lock = file.with_name(file.name + ".lock")
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigError(
                    f"{file} is locked by another program",
                    hint=f"where none is at work, an interrupted one left the lock: rm {lock}",
                ) from None
            time.sleep(0.05)
        except OSError as error:
            raise KubeconfigError(f"cannot write {file}: {error}") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _owner(file: Path, env: Mapping[str, str]) -> tuple[int, int] | None:
    """Whose the file should be: its present owner's, or the caller's of sudo."""
    with contextlib.suppress(FileNotFoundError):
        stat = file.stat()
        return stat.st_uid, stat.st_gid
    caller = _caller(env)
    return (caller.pw_uid, caller.pw_gid) if caller else None


def _make_directory(directory: Path, env: Mapping[str, str]) -> None:
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    for made in reversed(missing):
        made.mkdir(mode=0o755, exist_ok=True)
        if (caller := _caller(env)) is not None:
            os.chown(made, caller.pw_uid, caller.pw_gid)


def _replace(file: Path, text: str, env: Mapping[str, str]) -> None:
    owner = _owner(file, env)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as out:
            os.fchmod(out.fileno(), 0o600)
            if owner is not None and owner[0] != os.geteuid():
                os.fchown(out.fileno(), *owner)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
