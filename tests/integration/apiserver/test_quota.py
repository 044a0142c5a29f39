"""Quotas are charged in the transaction that creates: by many clients at once, by two servers, across a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pybernetes.api.resources import RESOURCEQUOTAS
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.client.interface import Client
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SQLiteStore
from tests.integration.apiserver.conftest import Server, running
from tests.integration.apiserver.test_crud import MAPS, config_map

QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def make_quota(server: Server, **hard: str) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": hard}}
    assert (await server.post(QUOTAS, quota)).status == 201
    await count(server.admin, dict.fromkeys(hard, "0"))


async def count(admin: Client, used: dict[str, str]) -> None:
    """In place of the quota controller."""
    quota = await admin.get(RESOURCEQUOTAS, "q", "default")
    await admin.update(
        RESOURCEQUOTAS, {**quota, "status": {"hard": quota["spec"]["hard"], "used": used}}, subresource="status"
    )


async def used(server: Server) -> dict[str, str]:
    status: dict[str, dict[str, str]] = (await server.get(f"{QUOTAS}/q")).json["status"]
    return status["used"]


async def test_many_at_once_get_as_many_as_fit(server: Server) -> None:
    await make_quota(server, configmaps="9")
    answers = await asyncio.gather(*(server.post(MAPS, config_map(f"m{i}")) for i in range(60)))
    refused = [a.json for a in answers if a.status == 403]
    assert [a.status for a in answers].count(201) == 9 and len(refused) == 51
    assert {r["message"].partition(": ")[2] for r in refused} == {
        "exceeded quota: q, requested: configmaps=1, used: configmaps=9, limited: configmaps=9"
    }
    assert await used(server) == {"configmaps": "9"}
    assert len((await server.get(MAPS)).json["items"]) == 9


async def test_nothing_is_charged_that_is_not_created(server: Server) -> None:
    await make_quota(server, configmaps="9")
    assert (await server.post(MAPS, config_map("m"))).status == 201
    assert (await server.post(MAPS, config_map("m"))).status == 409
    assert (await server.post(MAPS, config_map("n"), dryRun="All")).status == 201
    assert (await server.post(MAPS, config_map("Not A Name"))).status == 422
    assert await used(server) == {"configmaps": "1"}


async def test_two_servers_share_a_quota(pki: ClusterPKI, tmp_path: Path) -> None:
    store = MemoryStore()
    async with running(pki, tmp_path, store) as one, running(pki, tmp_path, store) as two:
        await make_quota(one, configmaps="11")
        answers = await asyncio.gather(
            *((one, two)[i % 2].post(MAPS, config_map(f"m{i}")) for i in range(40)), return_exceptions=True
        )
        assert [getattr(a, "status", a) for a in answers].count(201) == 11, answers
        assert await used(two) == {"configmaps": "11"}
        assert len((await one.get(MAPS)).json["items"]) == 11
    await store.close()


async def test_what_was_charged_before_a_restart_counts(pki: ClusterPKI, tmp_path: Path) -> None:
    for attempt in range(3):
        store = await SQLiteStore.open(tmp_path / "store")
        try:
            async with running(pki, tmp_path, store) as server:
                if not attempt:
                    await make_quota(server, configmaps="7")
                posts = [asyncio.create_task(server.post(MAPS, config_map(f"m{attempt}-{i}"))) for i in range(5)]
                answers = await asyncio.gather(*posts)
                assert [a.status for a in answers].count(201) == (5, 2, 0)[attempt]
                assert len((await server.get(MAPS)).json["items"]) == (5, 7, 7)[attempt]
        finally:
            await store.close()
