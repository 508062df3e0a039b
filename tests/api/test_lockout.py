"""Failed authentication over HTTP: put off after too many, on every kind of route, and never whoever has the key."""

import pytest
from sqlalchemy import event

from mythos_gate.authn import api_keys
from mythos_gate.authn.lockout import MOST, MOST_OF_ALL
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.api.test_routes import ALLOWED
from tests.service import question

pytestmark = pytest.mark.anyio
ROUTES = [
    ("POST", "/access/v1/evaluation"), ("POST", "/access/v1/evaluations"), ("POST", "/v1/explain"),
    ("GET", "/forward-auth"), ("POST", "/access/v1/search/subject"), ("GET", "/v1/stops"), ("POST", "/v1/stops"),
]  # fmt: skip


def wrong(identifier):
    return {"Authorization": f"Bearer {api_keys._text(identifier, 'a' * 64)}"}


async def ask(service, method, path, headers):
    body = question() if path.startswith(("/access", "/v1/explain")) else {"scope": "everything"}
    return await service.client.request(method, path, json=body if method == "POST" else None, headers=headers)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_after_too_many_a_wrong_key_is_put_off_and_the_right_one_is_not(service, route):
    held = service.keys[Role.COMPLIANCE].split("_")[1]
    method, path = route
    answers = [await ask(service, method, path, wrong(held)) for _ in range(MOST + 3)]
    assert [answer.status_code for answer in answers] == [401] * MOST + [429] * 3
    for answer in answers[MOST:]:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:mythos-gate:problem:too-many-failures"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.json()["status"] == 429
    for method, path in ROUTES:
        right = await ask(service, method, path, service.authorization(Role.COMPLIANCE) | ALLOWED)
        assert right.status_code in {200, 201, 202}, right.text


async def test_what_is_refused_from_memory_asks_the_database_nothing(service):
    held = service.keys[Role.COMPLIANCE].split("_")[1]
    for _ in range(MOST + 3):
        await ask(service, "GET", "/v1/stops", wrong(held))
    statements = []
    engine = service.gate.registry.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for identifier in (held, held, held):
        assert (await ask(service, "GET", "/v1/stops", wrong(identifier))).status_code == 429
    assert statements == []
    assert (await ask(service, "GET", "/v1/stops", service.authorization(Role.COMPLIANCE))).status_code == 200
    assert len(statements) == 1


async def test_a_flood_of_invented_keys_is_put_off_and_nobody_else(service):
    for number in range(MOST_OF_ALL + 1):
        await ask(service, "GET", "/v1/stops", wrong(f"{number:016x}"))
    flooded = await ask(service, "GET", "/v1/stops", wrong("f" * 16))
    assert flooded.status_code == 429
    assert int(flooded.headers["retry-after"]) <= 10
    stopped = await ask(service, "POST", "/v1/stops", service.authorization(Role.COMPLIANCE))
    assert stopped.status_code == 201


async def test_what_is_no_key_is_not_counted(service):
    for _ in range(MOST_OF_ALL + 5):
        assert (await ask(service, "GET", "/v1/stops", {"Authorization": "Bearer mgk_x_y_z"})).status_code == 401
    assert (await ask(service, "GET", "/v1/stops", wrong("f" * 16))).status_code == 401


async def test_a_revoked_key_is_put_off_too(service):
    headers = await service.key(Role.COMPLIANCE)
    async with service.gate.registry.change("key_revoked", "test") as change:
        await callers.revoke_key(change, headers["Authorization"].split("_")[1])
    answers = [(await ask(service, "GET", "/v1/stops", headers)).status_code for _ in range(MOST + 2)]
    assert answers == [401] * MOST + [429] * 2
