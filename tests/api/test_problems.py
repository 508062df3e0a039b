"""Every status that is no success is a problem (RFC 9457), on every route, and none says what an exception said."""

import re

import pytest

from mythos_gate.api import deps
from mythos_gate.authn import api_keys
from mythos_gate.authn.lockout import MOST
from mythos_gate.terms import Role
from tests.api.test_every_route import WRITES, routes
from tests.api.test_idempotency import ANEW
from tests.api.test_lockout import wrong
from tests.api.test_routes import ALLOWED
from tests.service import question
from tests.test_conventions import DECIDING

pytestmark = pytest.mark.anyio
SECRET = "Utopia 1977-07-07 of acme/zebulon"
EVERY = sorted(routes())
WITH_BODY = [route for route in EVERY if route[0] != "GET" and route[1].startswith(("/v1", "/access"))]


def concrete(path):
    return re.sub(r"{\w+}", "x", path)


def is_problem(answer, *statuses):
    assert answer.status_code in statuses, (answer.request.url, answer.status_code, answer.text)
    told = answer.json()
    if answer.request.url.path.startswith("/scim/"):  # RFC 7644 3.12
        assert answer.headers["content-type"] == "application/scim+json", answer.request.url
        assert told.keys() - {"scimType"} == {"schemas", "status", "detail"}
        assert told["status"] == str(answer.status_code)
        named = told["schemas"][0]
        assert named == "urn:ietf:params:scim:api:messages:2.0:Error"
    else:
        assert answer.headers["content-type"] == "application/problem+json", answer.request.url
        assert told.keys() >= {"type", "title", "status", "detail", "instance"}
        assert (told["status"], told["instance"][:9]) == (answer.status_code, "urn:uuid:")
        named = told["instance"]
    for word in (
        "Utopia",
        "1977",
        "zebulon",
        "Traceback",
        "Error",
        "psycopg",
        "asyncpg",
        "sqlalchemy",
        "SELECT",
        ".py",
    ):
        assert word not in answer.text.replace(named, ""), (answer.request.url, answer.text)


async def ask(service, method, path, headers=None, **sent):
    chosen = service.authorization(Role.COMPLIANCE) | ALLOWED if headers is None else headers
    return await service.client.request(method, concrete(path), headers=chosen, **sent)


async def test_400_401_403_404_405(service):
    gateway, nobody = service.authorization(Role.GATEWAY), dict[str, str]()
    for method, path in EVERY:
        body = {"json": question() if path in DECIDING else {}} if method != "GET" else {}
        is_problem(await ask(service, method, path, nobody, **body), 401)
        who = service.authorization(Role.OPERATOR) if path in DECIDING or "decisions" in path else gateway
        is_problem(await ask(service, method, path, who, **body), 403)
        is_problem(await ask(service, "OPTIONS" if path.startswith("/scim") else "DELETE", path), 405)
        is_problem(await ask(service, method, f"{path}/x/y/", **body), 404, 405, 400, 428, 403)
        if path.startswith("/v1") and path not in DECIDING:
            is_problem(await ask(service, method, f"{path}?nonsense=1", **body), 400, 403, 404, 428)
    is_problem(await service.client.get("/nowhere"), 404)


async def test_413_and_a_body_of_another_type(service):
    """There is no 415: a body of another type is told as all else that is wrong with it (400)."""
    assert len(WITH_BODY) > 50
    for method, path in WITH_BODY:
        headers = service.authorization(Role.COMPLIANCE) | {"If-Match": "*"}
        json = headers | {"Content-Type": "application/json"}
        path += "?version=x" if path == "/v1/data-sets" else ""  # noqa: PLW2901
        # Of a list that is sent as a file more is taken.
        large = await ask(service, method, path, json, content=b" " * 17_000_000)
        is_problem(large, 413, 403)
        is_problem(await ask(service, method, path, headers | {"Content-Type": "text/html"}, content=b"<p>"), 400, 403)


async def test_422(service):
    headers = service.authorization(Role.COMPLIANCE) | {"Idempotency-Key": "k"}
    assert (await ask(service, "POST", "/v1/stops", headers, json={"scope": "everything"})).status_code == 201
    permitted = 0
    for method, path in WRITES:
        answer = await ask(service, method, path, headers)
        # What is made anew each time takes no key: there is no policy of this name, and no draft.
        is_problem(answer, *([404, 400] if (method, path) in ANEW else [422, 403, 400]))
        permitted += answer.status_code == 422
    assert permitted > 40


async def test_429(service):
    held = wrong(service.keys[Role.COMPLIANCE].split("_")[1])
    for _ in range(MOST + 1):
        await ask(service, "GET", "/v1/stops", held)
    for method, path in EVERY:
        sent = {"json": question() if path in DECIDING else {}} if method != "GET" else {}
        answer = await ask(service, method, path, held | ALLOWED, **sent)
        is_problem(answer, 429)
        assert int(answer.headers["retry-after"]) > 0


async def _raise(*_arguments, **_named):
    raise RuntimeError(SECRET)


async def test_500(service, monkeypatch):
    """Whatever happens where the caller is looked up, and on the decision routes where a key is read."""

    def fail(*_):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(deps, "authenticate", _raise)
    monkeypatch.setattr(api_keys, "bearer", fail)
    for method, path in EVERY:
        sent = {"json": question()} if method != "GET" else {}
        answer = await ask(service, method, path, **sent)
        is_problem(answer, 500)
        assert answer.json()["detail"] == "something unforeseen happened; it was logged"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_503(service, monkeypatch):
    """Without a database nobody is looked up."""
    for engine in (service.gate.registry.engine, service.gate.reader):
        monkeypatch.setattr(type(engine), "connect", lambda _: _refusing())
    monkeypatch.setattr(type(service.gate.pdp._pool), "acquire", lambda _, **__: _refusing())
    service.forget()
    for method, path in EVERY:
        sent = {"json": question()} if method != "GET" else {}
        answer = await ask(service, method, path, **sent)
        is_problem(answer, 503)


def _refusing():
    raise OSError(SECRET)
