"""Every route of the OpenAPI document, asked without a key and with each role's."""

import re

import pytest

from mythos_gate.terms import Permission, Role
from tests.service import question
from tests.test_conventions import PUBLIC, _routes

pytestmark = pytest.mark.anyio
DECIDING = {
    "/access/v1/evaluation": Permission.EVALUATE,
    "/forward-auth": Permission.EVALUATE,
    "/v1/explain": Permission.EXPLAIN,
}
# As headers, a request that is allowed.
ALLOWED = {
    "X-Gate-Subject": "acme/us",
    "X-Gate-Capability": "vuln-discovery",
    "X-Gate-Purpose": "defensive-own-systems",
    "X-Gate-Model": "mythos-5",
    "X-Gate-Version": "5.1.0",
    "X-Gate-Country": "US",
    "X-Gate-Endpoint": "ep-1",
    "X-Gate-Mfa": "phishing_resistant",
}


def declared(route):
    """The permission that a route's signature asks for."""
    if route.path in DECIDING:
        return DECIDING[route.path]
    [permission] = {
        found for each in route.dependant.dependencies if (found := getattr(each.call, "permission", None)) is not None
    }
    return permission


@pytest.fixture
def routes(service):
    """(method, path, permission) of all that is in the document, and of nothing else."""
    document = service.app.openapi()["paths"]
    documented = {(method.upper(), path) for path, methods in document.items() for method in methods}
    known = {
        (method, re.sub(r":path}", "}", route.path)): declared(route)
        for route in _routes()
        if route.path not in PUBLIC
        for method in route.methods or ()
    }
    assert len(known) > 50
    assert {each for each in documented if each[1] not in PUBLIC} == known.keys()
    return [(method, re.sub(r"{\w+}", "x", path), permission) for (method, path), permission in known.items()]


async def ask(service, method, path, headers):
    body = question() if path in DECIDING else {}
    answer = await service.client.request(method, path, json=body, headers=headers | {"If-Match": "*"} | ALLOWED)
    assert answer.status_code < 500, (method, path, answer.text)
    return answer.status_code


async def test_without_a_key_every_route_is_401(service, routes):
    assert {await ask(service, method, path, {}) for method, path, _ in routes} == {401}


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_is_let_in_where_its_permission_is_declared_and_nowhere_else(service, routes, role):
    scopes = {Role.ORG_ADMIN: {"organization": "acme", "person": "acme/us"}, Role.OFFICER: {"authority": "orrery"}}
    key = await service.key(role, **scopes.get(role, {}))
    given = service.gate.permissions.of([role])
    assert given
    before = service.sql("SELECT count(*) FROM organizations")
    told = {(method, path): await ask(service, method, path, key) for method, path, _ in routes}
    expected = {(method, path): permission in given for method, path, permission in routes}
    assert {route: status not in {401, 403} for route, status in told.items()} == expected
    assert before == service.sql("SELECT count(*) FROM organizations")
