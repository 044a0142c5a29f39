"""Image names and the credentials for them."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.kubelet.backoff import BackOff
from pybernetes.kubelet.images import InvalidImageName, credentials_for, registry_of, with_default_tag

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.25", "nginx:1.25"),
        ("example.org/a/b", "example.org/a/b:latest"),
        ("example.org:5000/a/b", "example.org:5000/a/b:latest"),
        ("example.org:5000/a:v1", "example.org:5000/a:v1"),
        (f"nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"example.org/nginx:1@{DIGEST}", f"example.org/nginx:1@{DIGEST}"),
        ("192.0.2.1:5000/x", "192.0.2.1:5000/x:latest"),
        ("a/b_c/d-e.f", "a/b_c/d-e.f:latest"),
    ],
)
def test_names(image: str, full: str) -> None:
    assert with_default_tag(image) == full


@pytest.mark.parametrize("image", ["", "UPPER", "a b", "nginx:", "nginx@sha256:abc", "/x", "x/", "http://x/y", "a:b:c"])
def test_names_that_are_none(image: str) -> None:
    with pytest.raises(InvalidImageName, match="invalid reference format"):
        with_default_tag(image)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        full = with_default_tag(text)
    except InvalidImageName:
        return
    assert full in (text, f"{text}:latest") and with_default_tag(full) == full


def test_registries() -> None:
    assert registry_of("nginx") == registry_of("library/nginx:1") == "docker.io"
    assert registry_of("example.org/x") == "example.org"
    assert registry_of("localhost/x") == "localhost"
    assert registry_of("host:5000/x") == "host:5000"


def secret(**auths: Object) -> Object:
    document = orjson.dumps({"auths": auths})
    return {
        "metadata": {"name": "s"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(document).decode()},
    }


def users(image: str, *secrets: Object) -> list[str]:
    return [auth.username for auth in credentials_for(image, secrets)]


def test_credentials_go_to_their_registry_only() -> None:
    of = secret(**{"example.org": {"username": "u", "password": "p"}})
    assert users("example.org/a:1", of) == ["u"]
    assert users("other.org/a:1", of) == []
    assert users("nginx", of) == []
    assert users("example.org:5000/a", of) == []


def test_the_longest_path_comes_first() -> None:
    of = secret(
        **{
            "example.org": {"username": "all"},
            "example.org/team": {"username": "team"},
            "example.org/other": {"username": "other"},
        }
    )
    assert users("example.org/team/app:1", of) == ["team", "all"]


def test_forms_of_keys_and_values() -> None:
    packed = base64.b64encode(b"user:pa:ss").decode()
    of = secret(**{"https://index.docker.io/v1/": {"auth": packed}, "*.example.org": {"username": "wild"}})
    assert [(a.username, a.password) for a in credentials_for("nginx", [of])] == [("user", "pa:ss")]
    assert users("eu.example.org/x", of) == ["wild"]
    assert users("a.b.example.org/x", of) == []


@pytest.mark.parametrize(
    "data", [{}, {".dockerconfigjson": "!"}, {".dockerconfigjson": base64.b64encode(b"[]").decode()}]
)
def test_a_broken_secret_is_left_out(data: Object) -> None:
    assert users("nginx", {"type": "kubernetes.io/dockerconfigjson", "data": data}) == []


def test_back_off_is_bounded_and_forgets_by_pod() -> None:
    table: BackOff[tuple[str, int]] = BackOff(1.0, 8.0)
    for number in range(30_000):
        table.next(("uid", number), 0.0, 0.0)
    assert len(table) == 20_000
    table.forget_where("uid")
    assert len(table) == 0
