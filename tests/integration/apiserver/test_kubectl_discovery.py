"""What every kubectl reads of the documents: resources with their verbs and names, and the fields of every kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pybernetes.api.resources import BUILTIN, HORIZONTALPODAUTOSCALERS_V1
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_kubectl import Kubectl, kubectls
from tests.support.kubectls import all_kubectls

CRUD = "create,delete,deletecollection,get,list,patch,update,watch"


@pytest.mark.parametrize("program", all_kubectls(), ids=lambda p: Path(p).name)
async def test_resources_with_their_short_names_categories_and_verbs(program: str, server: Server) -> None:
    kubectl = Kubectl(program, server)
    out = await kubectl("api-resources", "-o", "wide", "--no-headers")
    lines = {(line.split()[0], "events.k8s.io" in line): line.split()[1:] for line in out.splitlines()}
    # The version that is not preferred is not shown.
    assert len(lines) == len(out.splitlines()) == len(BUILTIN) - 1
    if kubectl.minor < 27:
        return  # Earlier ones print verbs in another form, and no categories.
    assert lines["pods", False] == ["po", "v1", "true", "Pod", CRUD, "all"]
    assert lines["namespaces", False] == [
        "ns", "v1", "false", "Namespace", "create,delete,get,list,patch,update,watch",
    ]  # fmt: skip
    assert lines["componentstatuses", False] == ["cs", "v1", "false", "ComponentStatus", "get,list"]
    assert lines["horizontalpodautoscalers", False] == [
        "hpa", "autoscaling/v2", "true", "HorizontalPodAutoscaler", CRUD, "all",
    ]  # fmt: skip
    assert lines["customresourcedefinitions", False] == [
        "crd,crds", "apiextensions.k8s.io/v1", "false", "CustomResourceDefinition", CRUD, "api-extensions",
    ]  # fmt: skip
    assert lines["tokenreviews", False] == ["authentication.k8s.io/v1", "false", "TokenReview", "create"]
    assert lines["events", True] == ["ev", "events.k8s.io/v1", "true", "Event", CRUD]


@pytest.mark.parametrize("program", kubectls(), ids=lambda p: Path(p).name)
async def test_every_kind_is_explained(program: str, server: Server) -> None:
    kubectl = Kubectl(program, server)
    places = asyncio.Semaphore(2)

    async def explain(plural: str, api_version: str) -> str:
        async with places:
            return await kubectl("explain", plural, "--recursive", "--api-version", api_version)

    kinds = [r for r in BUILTIN if r is not HORIZONTALPODAUTOSCALERS_V1 or kubectl.minor >= 27]
    found = await asyncio.gather(*(explain(r.plural, r.api_version) for r in kinds))
    for resource, text in zip(kinds, found, strict=True):
        said = text.partition("FIELDS:")
        assert resource.kind in said[0] and "DESCRIPTION:" in said[0], resource
        assert "apiVersion" in said[2] and "metadata" in said[2], resource
