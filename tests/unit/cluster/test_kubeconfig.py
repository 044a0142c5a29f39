"""The user's kubeconfig: our context goes in and out, everything else stays as it was."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.cluster import kubeconfig
from pybernetes.cluster.kubeconfig import AdminAccess, KubeconfigError

ACCESS = AdminAccess("https://127.0.0.1:6443", b"ca", b"certificate", b"key")

OTHERS = """\
# a comment
apiVersion: v1
kind: Config
preferences: {}
current-context: work
users:
- name: zed
  user:
    token: "0123"
- name: alpha
  user: {username: a, password: '2024-01-01T00:00:00Z'}
contexts:
- context: {cluster: work, user: zed, namespace: "on"}
  name: work
clusters:
- cluster:
    server: https://example.com
    insecure-skip-tls-verify: true
  name: work
extensions: null
"""


def env_of(*files: Path) -> dict[str, str]:
    return {"KUBECONFIG": os.pathsep.join(str(f) for f in files), "HOME": "/nonexistent"}


def names(path: Path, section: str) -> list[str]:
    return [e["name"] for e in yaml.safe_load(path.read_text())[section]]


def test_a_new_file_holds_the_context_alone_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    assert kubeconfig.merge("p8s-a", ACCESS, env_of(path)) == path
    loaded = yaml.safe_load(path.read_text())
    assert loaded["current-context"] == "p8s-a"
    assert loaded["contexts"] == [{"name": "p8s-a", "context": {"cluster": "p8s-a", "user": "p8s-a"}}]
    assert loaded["clusters"][0]["cluster"]["server"] == ACCESS.server
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["config"]


def test_without_the_variable_the_home_file_is_used(tmp_path: Path) -> None:
    assert kubeconfig.paths({"HOME": str(tmp_path)}) == [tmp_path / ".kube" / "config"]


def test_others_keep_their_values_and_order(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(OTHERS)
    path.chmod(0o644)
    before = yaml.load(OTHERS, yaml.BaseLoader)  # Values as they are spelt.
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    merged = yaml.load(path.read_text(), yaml.BaseLoader)
    assert list(merged) == list(before)
    assert [u["name"] for u in merged["users"]] == ["zed", "alpha", "p8s-a"]
    assert merged["users"][:2] == before["users"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kubeconfig.remove("p8s-a", env_of(path)) == [path]
    after = yaml.load(path.read_text(), yaml.BaseLoader)
    assert after == {**before, "current-context": ""}
    # The types survive too: a quoted number stays a string.
    assert yaml.safe_load(path.read_text())["users"] == yaml.safe_load(OTHERS)["users"]


def test_a_current_context_that_is_not_ours_stays_at_removal(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    kubeconfig.merge("p8s-b", ACCESS, env_of(path))
    kubeconfig.remove("p8s-a", env_of(path))
    assert yaml.safe_load(path.read_text())["current-context"] == "p8s-b"
    assert names(path, "clusters") == names(path, "users") == names(path, "contexts") == ["p8s-b"]


def test_merging_twice_replaces_in_place(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    kubeconfig.merge("p8s-b", ACCESS, env_of(path))
    kubeconfig.merge("p8s-a", AdminAccess("https://127.0.0.1:7000", b"x", b"y", b"z"), env_of(path))
    assert names(path, "clusters") == ["p8s-a", "p8s-b"]
    assert yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7000"


def test_of_a_list_the_first_existing_file_is_written_and_stale_entries_elsewhere_go(tmp_path: Path) -> None:
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    kubeconfig.merge("p8s-a", ACCESS, env_of(third))
    second.write_text(OTHERS)
    assert kubeconfig.merge("p8s-a", ACCESS, env_of(first, second, third)) == second
    assert not first.exists()
    assert names(second, "contexts") == ["work", "p8s-a"]
    assert names(third, "contexts") == []
    assert kubeconfig.file_to_write([first, tmp_path / "4"]) == tmp_path / "4"
    assert kubeconfig.remove("p8s-a", env_of(first, second, third)) == [second, third]


def test_a_null_section_and_an_empty_file_are_filled(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\nclusters: null\ncontexts:\nusers: []\n")
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    assert names(path, "clusters") == names(path, "users") == ["p8s-a"]
    path.write_text("")
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    assert yaml.safe_load(path.read_text())["kind"] == "Config"


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list\n", "\x00"])
def test_what_is_no_kubeconfig_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError) as raised:
        kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    assert str(path) in str(raised.value) and raised.value.hint
    assert path.read_text() == text
    assert kubeconfig.remove("p8s-a", env_of(path)) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text(OTHERS)
    link.symlink_to(real)
    kubeconfig.merge("p8s-a", ACCESS, env_of(link))
    assert link.is_symlink() and names(real, "contexts") == ["work", "p8s-a"]


def test_kubectls_lock_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_LOCK_WAIT_SECONDS", 0.1)
    path = tmp_path / "config"
    lock = tmp_path / "config.lock"
    lock.touch()
    with pytest.raises(KubeconfigError, match="locked") as raised:
        kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    assert str(lock) in raised.value.hint and lock.exists() and not path.exists()


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    wanted = [f"p8s-{i}" for i in range(8)]
    threads = [threading.Thread(target=kubeconfig.merge, args=(n, ACCESS, env_of(path))) for n in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(path, "contexts")) == wanted


_VALUES = st.one_of(st.text(max_size=20), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=st.dictionaries(st.text(min_size=1, max_size=8), _VALUES, max_size=4), text=st.text(max_size=30))
def test_in_and_out_changes_no_value(tmp_path: Path, user: dict[str, object], text: str) -> None:
    path = tmp_path / "config"
    others = {"kind": "Config", "users": [{"name": "other", "user": user}], "current-context": "other", "note": text}
    path.write_text(kubeconfig.dump(others))
    kubeconfig.merge("p8s-a", ACCESS, env_of(path))
    kubeconfig.remove("p8s-a", env_of(path))
    after = yaml.safe_load(path.read_text())
    assert after.pop("clusters") == after.pop("contexts") == []
    assert after == {**others, "current-context": ""}
