"""What webhooks do to managedFields."""

from __future__ import annotations

from typing import Any

from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS
from tests.integration.apiserver.test_field_managers import held
from tests.integration.apiserver.test_webhooks import config_map, configure, webhook
from tests.support.webhook import Webhook, hook, patch

__all__ = ["webhook"]


async def test_what_a_webhook_adds_is_nobodys(server: Server, webhook: Webhook) -> None:
    webhook.answers["/m"] = patch({"op": "add", "path": "/data/added", "value": "1"})
    await configure(server, "Mutating", "m", hook("m.example.com", webhook.client_config("/m")))
    made = (await server.post(MAPS, config_map("m"), fieldManager="maker")).json
    assert made["data"] == {"k": "v", "added": "1"}
    assert held(made, "maker") == {"f:data": {".": {}, "f:k": {}}}


async def test_managers_that_a_webhook_names(server: Server, webhook: Webhook) -> None:
    entry: dict[str, Any] = {
        "manager": "webhook",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:k": {}}},
    }
    webhook.answers["/m"] = patch({"op": "add", "path": "/metadata/managedFields/-", "value": entry})
    await configure(server, "Mutating", "m", hook("m.example.com", webhook.client_config("/m")))
    made = (await server.post(MAPS, config_map("m"), fieldManager="maker")).json
    assert held(made, "webhook") == entry["fieldsV1"]
    for nonsense in ({**entry, "operation": "Guess"}, {"manager": "x"}, {**entry, "fieldsV1": {"what": {}}}):
        webhook.answers["/m"] = patch({"op": "add", "path": "/metadata/managedFields/-", "value": nonsense})
        changed = await server.patch(f"{MAPS}/m", {"data": {"x": "1"}}, "merge", fieldManager="editor")
        assert changed.status == 200, changed.json
        assert ".metadata.managedFields was in an invalid state after admission" in changed.headers["Warning"]
        assert held(changed.json, "webhook") == entry["fieldsV1"] and held(changed.json, "editor")
