"""Every route of the OpenAPI document, asked without a key and with each role's."""

import re

import pytest

from mythos_gate.terms import Permission, Role
from tests.service import question
from tests.test_conventions import DECIDING, PUBLIC, _routes, declared

pytestmark = pytest.mark.anyio
# Who may what compliance may not.
OTHERS = {Permission.READ_LOG: Role.AUDITOR, Permission.PROVISION: Role.SCIM}
# What each route asks for, apart from its own signature.
ROUTES = {
    Permission.EVALUATE: [
        "POST /access/v1/evaluation",
        "POST /access/v1/evaluations",
        "POST /access/v1/search/action",
        "POST /access/v1/search/resource",
        "POST /access/v1/search/subject",
        "GET /forward-auth",
    ],
    Permission.EXPLAIN: [
        "POST /v1/explain",
        "POST /v1/decisions/explain",
        "GET /v1/people/{person}/access",
        "GET /v1/rollouts/{identifier}/differences",
    ],
    Permission.SUSPEND: [
        "POST /v1/grants/{grant}/revoke",
        "POST /v1/grants/{grant}/suspend",
        "POST /v1/organizations/{organization}/revoke",
        "POST /v1/organizations/{organization}/suspend",
        "POST /v1/stops",
    ],
    Permission.SUSPEND_STAFF: [
        "POST /v1/agents/{agent}/revoke",
        "POST /v1/agents/{agent}/suspend",
        "POST /v1/endpoints/{endpoint}/revoke",
        "POST /v1/people/{person}/revoke",
        "POST /v1/people/{person}/suspend",
    ],
    Permission.PROVISION: [
        "GET /scim/v2/ServiceProviderConfig",
        "GET /scim/v2/ResourceTypes",
        "GET /scim/v2/ResourceTypes/{identifier}",
        "GET /scim/v2/Schemas",
        "GET /scim/v2/Schemas/{identifier}",
        "POST /scim/v2/.search",
        "GET /scim/v2/Groups",
        "POST /scim/v2/Groups",
        "POST /scim/v2/Groups/.search",
        "GET /scim/v2/Groups/{identifier}",
        "PUT /scim/v2/Groups/{identifier}",
        "PATCH /scim/v2/Groups/{identifier}",
        "DELETE /scim/v2/Groups/{identifier}",
        "GET /scim/v2/Users",
        "POST /scim/v2/Users",
        "POST /scim/v2/Users/.search",
        "GET /scim/v2/Users/{identifier}",
        "PUT /scim/v2/Users/{identifier}",
        "PATCH /scim/v2/Users/{identifier}",
        "DELETE /scim/v2/Users/{identifier}",
    ],
    Permission.READ_ATTENTION: [
        "GET /v1/attention",
    ],
    Permission.READ_REGISTRY: [
        "GET /v1/authorities",
        "GET /v1/authorities/{authority}/usage",
        "GET /v1/authorities/{reference}",
        "GET /v1/break-glass",
        "GET /v1/break-glass/{identifier}",
        "GET /v1/directives",
        "GET /v1/directives/{reference}",
        "GET /v1/grants",
        "GET /v1/grants/{reference}",
        "GET /v1/models",
        "GET /v1/models/{reference}",
        "GET /v1/organizations",
        "GET /v1/organizations/{organization}/ownership",
        "GET /v1/organizations/{reference}",
        "GET /v1/change-requests",
        "GET /v1/change-requests/{identifier}",
        "GET /v1/stops",
        "GET /v1/stops/{stop}",
        "GET /v1/switches",
        "GET /v1/switches/{reference}",
    ],
    Permission.ADMINISTER: [
        "PATCH /v1/authorities/{reference}",
        "POST /v1/break-glass",
        "POST /v1/break-glass/{identifier}/close",
        "POST /v1/break-glass/{identifier}/review",
        "POST /v1/directives",
        "PATCH /v1/directives/{reference}",
        "POST /v1/grants",
        "PATCH /v1/grants/{reference}",
        "POST /v1/grants/{reference}/activate",
        "POST /v1/models",
        "PATCH /v1/models/{reference}",
        "POST /v1/organizations",
        "PUT /v1/organizations/{organization}/ownership",
        "PATCH /v1/organizations/{reference}",
        "POST /v1/organizations/{reference}/activate",
        "POST /v1/change-requests/{identifier}/approve",
        "POST /v1/change-requests/{identifier}/reject",
        "POST /v1/change-requests/{identifier}/withdraw",
        "POST /v1/simulations",
        "POST /v1/stops/{reference}/lift",
    ],
    Permission.RUN_PROGRAMME: [
        "POST /v1/agents/{reference}/activate",
        "POST /v1/authorities",
        "POST /v1/data-sets",
        "GET /v1/data-sets/{identifier}",
        "POST /v1/data-sets/{identifier}/activate",
        "GET /v1/legal-holds",
        "POST /v1/legal-holds",
        "GET /v1/legal-holds/{hold}",
        "POST /v1/legal-holds/{reference}/lift",
        "POST /v1/keys",
        "POST /v1/people/{reference}/activate",
        "POST /v1/people/{reference}/erasure",
        "POST /v1/log/prune",
        "GET /v1/policies/{identifier}/reports/{report}",
        "GET /v1/simulations/{report}",
        "POST /v1/switches",
        "PATCH /v1/switches/{reference}",
    ],
    Permission.REVIEW: [
        "POST /v1/people/{person}/approve",
        "POST /v1/people/{person}/review",
    ],
    Permission.ENROL: [
        "POST /v1/agents",
        "POST /v1/agents/import",
        "PATCH /v1/agents/{reference}",
        "POST /v1/endpoints",
        "POST /v1/endpoints/import",
        "PATCH /v1/endpoints/{reference}",
        "POST /v1/invitations",
        "POST /v1/invitations/{invitation}/withdraw",
        "POST /v1/people",
        "POST /v1/people/import",
        "POST /v1/people/{person}/release-seats",
        "PATCH /v1/people/{reference}",
    ],
    Permission.ASSESS: [
        "GET /v1/people/{person}/assessment",
        "PUT /v1/people/{person}/assessment",
        "POST /v1/people/{person}/assessment/withdraw",
    ],
    Permission.READ_STAFF: [
        "GET /v1/agents",
        "GET /v1/agents/export",
        "GET /v1/agents/{reference}",
        "GET /v1/eligibility",
        "GET /v1/endpoints",
        "GET /v1/endpoints/export",
        "GET /v1/endpoints/{reference}",
        "GET /v1/invitations",
        "GET /v1/invitations/{invitation}",
        "GET /v1/people",
        "GET /v1/people/export",
        "GET /v1/people/{person}/eligibility",
        "GET /v1/people/{reference}",
    ],
    Permission.SCREEN: [
        "GET /v1/screenings",
        "POST /v1/screenings",
        "POST /v1/screenings/adjudicate",
    ],
    Permission.ACTIVATE_POLICY: [
        "POST /v1/policies",
        "POST /v1/policies/{identifier}/activate",
        "POST /v1/policies/{identifier}/watch",
        "POST /v1/policies/{identifier}/checks",
        "POST /v1/policies/{identifier}/simulations",
        "POST /v1/policies/{identifier}/replays",
        "POST /v1/policy-cases",
        "POST /v1/policy-cases/{reference}/lift",
        "POST /v1/rollouts/{identifier}/end",
    ],
    Permission.READ_PROGRAMME: [
        "GET /v1/policies",
        "GET /v1/policies/{identifier}",
        "GET /v1/policies/{identifier}/reports",
        "GET /v1/simulations",
        "GET /v1/policy-cases",
        "GET /v1/policy-cases/{identifier}",
        "GET /v1/rollouts",
        "GET /v1/rollouts/{identifier}",
        "GET /v1/data-sets",
        "GET /v1/log",
        "GET /v1/programme",
    ],
    Permission.OPERATE: [
        "GET /v1/keys",
        "POST /v1/keys/{key}/revoke",
    ],
    Permission.READ_DECISIONS: [
        "GET /v1/decisions/{decision}",
        "GET /v1/decisions/{decision}/proof",
        "GET /v1/decisions/{decision}/receipt",
    ],
    Permission.READ_LOG: [
        "GET /v1/log/entries",
        "GET /v1/log/entries/{entry}/proof",
        "POST /v1/log/exports",
        "GET /tile/entries/{index}",
    ],
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


def permission_of(route):
    [permission] = declared(route)
    return permission


@pytest.fixture
def routes(service):
    """(method, path, permission) of all that is in the document, and of nothing else."""
    document = service.app.openapi()["paths"]
    documented = {(method.upper(), path) for path, methods in document.items() for method in methods}
    known = {
        (method, path): permission_of(route)
        for route in _routes()
        if (path := re.sub(r":path}", "}", route.path)) not in PUBLIC
        for method in route.methods or ()
    }
    assert len(known) > 50
    assert {each for each in documented if each[1] not in PUBLIC} == known.keys()
    wanted = {tuple(route.split()): permission for permission, routes in ROUTES.items() for route in routes}
    assert known == wanted
    return [(method, re.sub(r"{\w+}", "x", path), permission) for (method, path), permission in wanted.items()]


async def ask(service, method, path, headers):
    body = question() if path in DECIDING else {}
    answer = await service.client.request(method, path, json=body, headers=headers | {"If-Match": "*"} | ALLOWED)
    assert answer.status_code < 500, (method, path, answer.text)
    return answer.status_code


async def test_without_a_key_every_route_is_401(service, routes):
    assert {await ask(service, method, path, {}) for method, path, _ in routes} == {401}


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_is_let_in_where_its_permission_is_declared_and_nowhere_else(service, routes, role):
    scopes = {
        Role.ORG_ADMIN: {"organization": "acme", "person": "acme/us"},
        Role.SCIM: {"organization": "acme"},
        Role.OFFICER: {"authority": "orrery"},
    }
    key = await service.key(role, **scopes.get(role, {}))
    given = service.gate.permissions.of([role])
    assert given
    before = service.sql("SELECT count(*) FROM organizations")
    told = {(method, path): await ask(service, method, path, key) for method, path, _ in routes}
    expected = {(method, path): permission in given for method, path, permission in routes}
    assert {route: status not in {401, 403} for route, status in told.items()} == expected
    assert before == service.sql("SELECT count(*) FROM organizations")


async def test_a_parameter_that_counts_for_nothing_is_told_and_so_is_one_that_is_there_twice(service, routes):
    mine = {role: service.authorization(role) for role in (Role.COMPLIANCE, Role.AUDITOR)}
    mine[Role.SCIM] = await service.key(Role.SCIM, organization="acme")
    tried = 0
    for method, path, permission in routes:
        if path in DECIDING:
            continue
        role = OTHERS.get(permission, Role.COMPLIANCE)
        headers = mine[role] | {"If-Match": "*"}
        for query, told in (("colour=red", "colour: no such parameter: use "), ("limit=1&limit=2", "limit")):
            answer = await service.client.request(method, f"{path}?{query}", headers=headers, json={})
            assert (method, path, answer.status_code) == (method, path, 400), answer.text
            assert told in answer.json()["detail"] or "a parameter is there twice" in answer.json()["detail"]
            tried += 1
    assert tried > 150
