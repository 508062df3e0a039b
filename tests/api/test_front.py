"""The hot routes before the framework: whatever is not POST on exactly their paths is the framework's, as ever."""

import asyncio

import pytest

from mythos_gate.api import authzen, evaluations, front
from mythos_gate.app import HOT
from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio
PATHS = sorted(HOT)


@pytest.fixture
def behind(service, monkeypatch):
    """The paths of what the framework was asked for."""
    seen = []
    real = front.Front.__call__

    async def call(self, scope, receive, send):
        inner = self._app

        async def app(scope, receive, send):
            seen.append((scope["method"], scope["path"]))
            await inner(scope, receive, send)

        self._app = app
        try:
            await real(self, scope, receive, send)
        finally:
            self._app = inner

    monkeypatch.setattr(front.Front, "__call__", call)
    return seen


@pytest.mark.parametrize("path", PATHS)
async def test_the_hot_routes_are_answered_before_the_framework(service, behind, path):
    answer = await service.client.post(path, json=question(), headers=service.authorization(Role.GATEWAY))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert behind == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", path, 405) for path in PATHS),
        *(("HEAD", path, 405) for path in PATHS),
        *(("PUT", path, 405) for path in PATHS),
        *(("POST", f"/{path}", 404) for path in PATHS),
        *(("POST", f"{path}/", 404) for path in PATHS),
    ],
)
async def test_everything_else_is_the_frameworks(service, behind, method, path, status):
    answer = await service.client.request(method, f"http://gate{path}", headers=service.authorization(Role.GATEWAY))
    assert (answer.status_code, behind) == (status, [(method, path)])


@pytest.mark.parametrize("path", PATHS)
async def test_a_caller_without_a_key_is_told_so_before_anything_else(service, path):
    for sent in (b"", b"{", b'{"subject":1}', b"[" * 100_000):
        answer = await service.client.post(path, content=sent, headers={"X-Request-ID": "r-1"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (answer.headers["content-type"], answer.headers["x-request-id"]) == ("application/problem+json", "r-1")


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_over_the_limit_is_413(service, path):
    headers = service.authorization(Role.GATEWAY) | {"Content-Type": "application/json"}
    answer = await service.client.post(path, content=b" " * 70_000, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:mythos-gate:problem:too-large")


@pytest.mark.parametrize("path", PATHS)
async def test_through_the_framework_the_answer_is_the_same(service, path, monkeypatch):
    """Both lead to the same function; ids and times apart."""

    async def ask():
        answer = await service.client.post(path, json=question(), headers=service.authorization(Role.GATEWAY))
        context = {name: said for name, said in answer.json()["context"].items() if name not in {"id", "evaluated_at"}}
        names = {name for name in answer.headers if name != "x-decision-id"}
        return answer.status_code, answer.json()["decision"], context, names

    await ask()  # claims the seat
    before = await ask()
    monkeypatch.setattr(front.Front, "__call__", lambda self, scope, receive, send: self._app(scope, receive, send))
    assert await ask() == before


async def test_what_a_client_that_hung_up_sent_is_not_decided(service):
    sent: list[dict[str, object]] = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    key = service.authorization(Role.GATEWAY)["Authorization"].encode()
    scope = {
        "type": "http", "method": "POST", "path": PATHS[0], "state": {"received": asyncio.get_running_loop().time()},
        "headers": [(b"authorization", key), (b"content-type", b"application/json")],
    }  # fmt: skip
    before = len(await service.entries())
    made = front.Front(service.app, service.app.state, HOT, 1_000, ())
    await made(scope, receive, send)
    assert sent == []
    assert len(await service.entries()) == before


def test_each_hot_route_is_declared_with_the_same_function():
    assert {"/access/v1/evaluation": authzen.evaluated, "/access/v1/evaluations": evaluations.evaluated} == HOT
    declared = {route.path for module in (authzen, evaluations) for route in module.router.routes}
    assert set(HOT) <= declared
