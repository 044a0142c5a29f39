"""Reviews are answered with the fields that their clients set noted in them, as upstream does with all that is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.apiserver.conftest import Server


@pytest.mark.parametrize(
    ("path", "spec", "noted"),
    [
        (
            "authorization.k8s.io/v1/selfsubjectaccessreviews",
            {"resourceAttributes": {"verb": "get", "resource": "pods"}},
            {"f:spec": {"f:resourceAttributes": {".": {}, "f:resource": {}, "f:verb": {}}}},
        ),
        ("authentication.k8s.io/v1/tokenreviews", {"token": "x"}, {"f:spec": {"f:token": {}}}),
        (
            "authorization.k8s.io/v1/selfsubjectrulesreviews",
            {"namespace": "default"},
            {"f:spec": {"f:namespace": {}}},
        ),
        ("authentication.k8s.io/v1/selfsubjectreviews", None, None),
    ],
)
async def test_reviews_name_who_asked(server: Server, path: str, spec: Any, noted: Any) -> None:
    body = {"spec": spec} if spec else {}
    answer = await server.post(f"/apis/{path}", body, fieldManager="me")
    assert answer.status == 201
    managers = answer.json["metadata"].get("managedFields")
    if noted is None:
        assert managers is None
        return
    (entry,) = managers
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]) == ("me", "Update", noted)
    assert entry["apiVersion"] == path.rpartition("/")[0] and "creationTimestamp" not in answer.json["metadata"]
