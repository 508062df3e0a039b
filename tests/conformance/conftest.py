"""The real application, its routes, keys and database, with another PDP behind them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx
import pytest

from mythos_gate.decision.pdp import Pdp
from mythos_gate.terms import Role
from tests import postgres
from tests.conformance.points import Point, World
from tests.service import Service


@dataclass
class Wire:
    """The service, and the key of a gateway."""

    service: Service
    headers: dict[str, str]
    endpoints: dict[str, str]

    async def send(self, api: str, method: str = "POST", **request: Any) -> httpx.Response:
        """To the endpoint that the metadata name."""
        headers = self.headers | request.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        return await self.service.client.request(method, self.endpoints[api], headers=headers, **request)


KEYS = {
    "evaluation": "access_evaluation_endpoint",
    "evaluations": "access_evaluations_endpoint",
    "search/subject": "search_subject_endpoint",
    "search/resource": "search_resource_endpoint",
    "search/action": "search_action_endpoint",
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def serve(
    server: str, programme: tuple[str, dict[Role, str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[World], Awaitable[Wire]]]:
    """Put this world behind the wire."""
    url, _ = programme
    with postgres.scratch(server, postgres.name_of(url)) as own:
        async with Service.running(own, tmp_path_factory.mktemp("wire"), public_url="http://gate") as service:
            gate = service.gate
            key = await service.key(Role.GATEWAY)
            metadata = (await service.client.get("/.well-known/authzen-configuration")).json()

            async def put(world: World) -> Wire:
                service.app.state.gate = replace(gate, pdp=cast("Pdp", Point(gate, world)))
                return Wire(service, key, {api: metadata[name] for api, name in KEYS.items()})

            yield put
            service.app.state.gate = gate
