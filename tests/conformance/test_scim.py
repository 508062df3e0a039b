"""SCIM as others test it: scim2-tester, and scim-sanity by the letter and as Entra speaks it."""

from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from scim2_client import BaseSyncSCIMClient
from scim2_tester import Status, check_server
from scim_sanity.probe.runner import run_probe_api

from mythos_gate.terms import Role
from tests.api.test_wire import port  # noqa: F401  a fixture

pytestmark = [pytest.mark.anyio, pytest.mark.scim_conformance]


class Client(BaseSyncSCIMClient):
    """Over real HTTP, by the library that is here anyway."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self._client = client

    def _stays_under_base_url(self, endpoint: str) -> bool:
        return str(self._client.build_request("GET", endpoint).url).startswith(str(self._client.base_url))

    def _parse_json(self, response: Any) -> Any:
        return response.json()

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        return self._client.request(method, url, **kwargs)


@pytest.fixture
async def at(service, port):  # noqa: F811
    """Where the service is, and the key of an organization's provider."""
    headers = await service.key(Role.SCIM, organization="acme")
    return f"http://127.0.0.1:{port}/scim/v2", headers["Authorization"]


async def test_scim2_tester_finds_nothing_wrong(at):
    url, key = at

    def check():
        with httpx.Client(base_url=f"{url}/", headers={"Authorization": key}) as client:
            return check_server(Client(client))

    results = await anyio.to_thread.run_sync(check)
    assert [each.reason for each in results if each.status is not Status.SUCCESS] == []
    assert len(results) > 60


@pytest.mark.parametrize("profile", [None, "entra"], ids=["by the letter", "as Entra"])
async def test_scim_sanity_finds_nothing_wrong(at, profile):
    url, key = at
    token = key.removeprefix("Bearer ")
    told = await anyio.to_thread.run_sync(partial(run_probe_api, url, token=token, strict=True, profile=profile))
    wrong = [each for each in told["results"] if each["status"] not in {"pass", "skip"}]
    assert wrong == []
    assert {each["name"] for each in told["results"] if each["status"] == "skip"} == {
        "Agent CRUD Lifecycle", "AgenticApplication CRUD Lifecycle", "Agent Rapid Lifecycle",
    }  # fmt: skip
    assert told["summary"]["passed"] == 28
