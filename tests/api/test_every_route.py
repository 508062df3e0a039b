"""Every route that writes leaves one entry; no answer that an administrator can get tells what is not theirs."""

import json
import re
from datetime import timedelta

import pytest

from mythos_gate.decision.policy import FILES
from mythos_gate.terms import Role
from tests.api.test_data_sets import embargo
from tests.api.test_erasure import aged
from tests.api.test_personal_data import named
from tests.api.test_prune import aged as long_ago
from tests.api.test_resources import CHANGES, NEW, Rest
from tests.api.test_routes import permission_of
from tests.service import POLICIES, question
from tests.test_conventions import DECIDING, PUBLIC, _routes

pytestmark = pytest.mark.anyio
# A decision's entry may come with that of a seat (tests/api/test_evaluation.py); a dry run has none.
ANY = {"If-Match": "*"}


class World:
    """Two officers, and what a request needs to be there before it."""

    def __init__(self, service, one, two, admin):
        self.service, self.one, self.two, self.admin = service, one, two, admin

        self.provider: Rest

    async def id(self, statement):
        ((found,),) = self.service.sql(statement)
        return found

    async def made(self, rest, method, path, members=None, **headers):
        answer = await rest(method, path, members, **headers)
        assert answer.status_code < 300, answer.text
        return answer.json()["id"]

    async def suspended(self, path):
        await self.made(self.one, "POST", f"{path}/suspend")

    async def glass(self):
        third = Rest(self.service, await self.service.key(Role.COMPLIANCE))
        return await self.one.opened({"organization": "acme", "incident": "I-1", "hours": 1}, self.two, third)

    async def change_request(self):
        return (await self.one("PATCH", "organizations/acme", {"name": "Acme Inc"}, **ANY)).json()


@pytest.fixture
async def world(service):
    one, two = [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", person="acme/us"))
    await service.load(
        people="organization,external_id,employment,name,email,work_country\n"
        "acme,us,employee,Ursula Smith,ursula@acme.example,US\nacme,ca,employee,Camille Roy,camille@acme.example,DE\n"
    )
    world = World(service, one, two, admin)
    world.provider = Rest(service, await service.key(Role.SCIM, organization="acme"))
    return world


# --- every write, with what it needs ----------------------------------------------------------------------------


async def _organization(world):
    return "organizations/acme/activate", await world.suspended("organizations/acme")


async def _grant(world, step):
    grant = await world.id("SELECT id FROM grants WHERE reference = 'V-1'")
    if step == "activate":
        await world.suspended(f"grants/{grant}")
    return f"grants/{grant}/{step}", None


async def _stop(world):
    return f"stops/{await world.made(world.one, 'POST', 'stops', {'scope': 'everything'})}/lift", None


async def _changed(world, name):
    named = {"external_id": "changed"} if "external_id" in NEW[name] else {}
    identifier = await world.made(world.one, "POST", name, NEW[name] | named)
    await world.one.simulated(f"{name}/{identifier}", CHANGES[name])
    return f"{name}/{identifier}", CHANGES[name]


async def _data_set(world):
    in_force = await world.id("SELECT data_set_id FROM programme")
    return f"data-sets/{in_force}/activate", {"reviewed_at": world.service.now.isoformat()}


async def _hit(world):
    await world.service.load(screenings="organization,person,status\nacme,us,pending\n")
    return "screenings/adjudicate", {"organization": "acme", "person": "us", "status": "true_match"}


async def _closed(world):
    glass = await world.glass()
    await world.made(world.one, "POST", f"break-glass/{glass}/close")
    return f"break-glass/{glass}/review", {"review": "nothing was found"}


async def _key(world):
    await world.service.key(Role.COMPLIANCE)
    return f"keys/{await world.id('SELECT id FROM api_keys ORDER BY created_at DESC LIMIT 1')}/revoke", None


OTHER = {name: (POLICIES / name).read_text() for name in FILES}
OTHER["messages.csv"] += "\n"


async def _policy(_):
    return "policies", {"files": OTHER}


async def _stored_policy(world, step):
    made = await world.made(world.one, "POST", "policies", {"files": OTHER})
    await world.service.simulated(made)
    return f"policies/{made}/{step}", None


async def _terms(world):
    grant = await world.id("SELECT id FROM grants WHERE reference = 'V-1'")
    return "simulations", {"grants": {grant: {"agents": False}}}


async def _cases(_):
    return "policy-cases", {"name": "exchange", "file": json.loads((POLICIES / "cases" / "agents.json").read_text())}


async def _added_cases(world):
    return f"policy-cases/{await world.made(world.one, 'POST', *await _cases(world))}/lift", None


async def _rollout(world):
    path, _ = await _stored_policy(world, "watch")
    return f"rollouts/{await world.made(world.one, 'POST', path)}/end", None


async def _hold(world):
    hold = {"scope": "person", "target": "acme/us", "matter": "M-1"}
    return f"legal-holds/{await world.made(world.one, 'POST', 'legal-holds', hold)}/lift", None


async def _forgotten(world):
    aged(world.service)
    return "people/acme/ca/erasure", None


async def _old_log(world):
    long_ago(world.service)
    await world.service.sequence()
    return "log/prune", {"before": "2010-02"}


async def _provided(world, path, body):
    """Under the key of acme's provider, who alone may."""
    ca, group = await world.id("SELECT id FROM people WHERE external_id = 'ca'"), None
    if "{group}" in path:
        made = {"schemas": [SCIM_GROUP], "displayName": "Analysts"}
        sent = await world.service.client.post("/scim/v2/Groups", json=made, headers=world.provider.headers)
        group = sent.json()["id"]
    return path.format(user=ca, group=group), body


async def _leaver(world):
    assert (await world.service.ask(question("acme/us", country="DE"))).json()["decision"] is True
    return "people/acme/us/release-seats", None


INVITED = {"external_id": "n-1", "employment": "employee", "organization": "acme"}


async def _invitation(world):
    return f"invitations/{await world.made(world.one, 'POST', 'invitations', INVITED)}/withdraw", None


def _plain(path, members=None):
    async def prepare(_):
        return path, members

    return prepare


def _activated(path):
    async def prepare(world):
        return f"{path}/activate", await world.suspended(path)

    return prepare


def _requested(step):
    async def prepare(world):
        made = await world.change_request()
        bodies = {"approve": {"sha256": made["sha256"]}, "reject": {"reason": "not now"}, "withdraw": None}
        return f"change-requests/{made['id']}/{step}", bodies[step]

    return prepare


def _glass(step, by="one"):
    async def prepare(world):
        return f"break-glass/{await world.glass()}/{step}", None

    prepare.by = by  # type: ignore[attr-defined]
    return prepare


def _of(function, *arguments):
    async def prepare(world):
        return await function(world, *arguments)

    return prepare


CSV = {
    "people": "external_id,employment,organization\nx,employee,acme\n",
    "agents": "external_id,sponsor,organization\nx,us,acme\n",
    "endpoints": "external_id,organization\nx,acme\n",
}
SCIM_USER, SCIM_GROUP = (f"urn:ietf:params:scim:schemas:core:2.0:{name}" for name in ("User", "Group"))
SCIM_PATCH = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "displayName", "value": "Changed"}],
}
WRITES = {
    **{("POST", f"/v1/{name}"): _plain(name, members) for name, members in NEW.items()},
    **{("PATCH", f"/v1/{name}/{{reference}}"): _of(_changed, name) for name in NEW},
    **{("POST", f"/v1/{name}/import"): _plain(f"{name}/import", text) for name, text in CSV.items()},
    ("POST", "/v1/invitations"): _plain("invitations", INVITED),
    ("POST", "/v1/invitations/{invitation}/withdraw"): _invitation,
    ("POST", "/v1/organizations/{organization}/suspend"): _plain("organizations/acme/suspend"),
    ("POST", "/v1/organizations/{organization}/revoke"): _plain("organizations/acme/revoke"),
    ("POST", "/v1/organizations/{reference}/activate"): _organization,
    ("PUT", "/v1/organizations/{organization}/ownership"): _plain("organizations/acme/ownership", {"owners": []}),
    **{("POST", f"/v1/grants/{{grant}}/{step}"): _of(_grant, step) for step in ("suspend", "revoke")},
    ("POST", "/v1/grants/{reference}/activate"): _of(_grant, "activate"),
    **{("POST", f"/v1/people/{{person}}/{step}"): _plain(f"people/acme/ca/{step}") for step in ("suspend", "revoke")},
    ("POST", "/v1/people/{reference}/activate"): _activated("people/acme/ca"),
    ("POST", "/v1/people/{person}/approve"): _plain("people/acme/ca/approve"),
    ("POST", "/v1/people/{person}/review"): _plain("people/acme/ca/review", {"due": "2030-01-01T00:00:00Z"}),
    ("POST", "/v1/people/{person}/release-seats"): _leaver,
    ("PUT", "/v1/people/{person}/assessment"): _plain("people/acme/ca/assessment", {"us_person": "unknown"}),
    ("POST", "/v1/people/{person}/assessment/withdraw"): _plain("people/acme/ca/assessment/withdraw"),
    **{("POST", f"/v1/agents/{{agent}}/{step}"): _plain(f"agents/acme/bot/{step}") for step in ("suspend", "revoke")},
    ("POST", "/v1/agents/{reference}/activate"): _activated("agents/acme/bot"),
    ("POST", "/v1/endpoints/{endpoint}/revoke"): _plain("endpoints/acme/ep-1/revoke"),
    ("POST", "/v1/change-requests/{identifier}/approve"): _requested("approve"),
    ("POST", "/v1/change-requests/{identifier}/reject"): _requested("reject"),
    ("POST", "/v1/change-requests/{identifier}/withdraw"): _requested("withdraw"),
    ("POST", "/v1/stops"): _plain("stops", {"scope": "model", "target": "mythos-5"}),
    ("POST", "/v1/stops/{reference}/lift"): _stop,
    ("POST", "/v1/legal-holds"): _plain("legal-holds", {"scope": "organization", "target": "acme", "matter": "M-2"}),
    ("POST", "/v1/legal-holds/{reference}/lift"): _hold,
    ("POST", "/v1/people/{reference}/erasure"): _forgotten,
    ("POST", "/v1/log/prune"): _old_log,
    ("POST", "/v1/break-glass"): _plain("break-glass", {"organization": "acme", "incident": "I-2", "hours": 1}),
    ("POST", "/v1/break-glass/{identifier}/close"): _glass("close"),
    ("POST", "/v1/break-glass/{identifier}/review"): _closed,
    ("POST", "/v1/screenings"): _plain(
        "screenings", {"items": [{"organization": "acme", "person": "us", "status": "incomplete"}]}
    ),
    ("POST", "/v1/screenings/adjudicate"): _hit,
    ("POST", "/v1/data-sets"): _plain("data-sets?version=x", embargo("CA")),
    ("POST", "/v1/data-sets/{identifier}/activate"): _data_set,
    ("POST", "/v1/keys"): _plain("keys", {"name": "Grace Marlow", "roles": ["auditor"]}),
    ("POST", "/v1/keys/{key}/revoke"): _key,
    ("POST", "/v1/policies"): _policy,
    ("POST", "/v1/policies/{identifier}/activate"): _of(_stored_policy, "activate"),
    ("POST", "/v1/policies/{identifier}/checks"): _of(_stored_policy, "checks"),
    ("POST", "/v1/policies/{identifier}/simulations"): _of(_stored_policy, "simulations"),
    ("POST", "/v1/policies/{identifier}/replays"): _of(_stored_policy, "replays"),
    ("POST", "/v1/simulations"): _terms,
    ("POST", "/v1/policy-cases"): _cases,
    ("POST", "/v1/policy-cases/{reference}/lift"): _added_cases,
    ("POST", "/v1/policies/{identifier}/watch"): _of(_stored_policy, "watch"),
    ("POST", "/v1/rollouts/{identifier}/end"): _rollout,
}
# By an identity provider, which may nothing else.
PROVIDED = {
    ("POST", "/scim/v2/Users"): _of(_provided, "/scim/v2/Users", {"schemas": [SCIM_USER], "userName": "new"}),
    ("PUT", "/scim/v2/Users/{identifier}"): _of(
        _provided, "/scim/v2/Users/{user}", {"schemas": [SCIM_USER], "userName": "ca", "active": True}
    ),
    ("PATCH", "/scim/v2/Users/{identifier}"): _of(_provided, "/scim/v2/Users/{user}", SCIM_PATCH),
    ("DELETE", "/scim/v2/Users/{identifier}"): _of(_provided, "/scim/v2/Users/{user}", None),
    ("POST", "/scim/v2/Groups"): _of(_provided, "/scim/v2/Groups", {"schemas": [SCIM_GROUP], "displayName": "G"}),
    ("PUT", "/scim/v2/Groups/{identifier}"): _of(
        _provided, "/scim/v2/Groups/{group}", {"schemas": [SCIM_GROUP], "displayName": "Changed"}
    ),
    ("PATCH", "/scim/v2/Groups/{identifier}"): _of(_provided, "/scim/v2/Groups/{group}", SCIM_PATCH),
    ("DELETE", "/scim/v2/Groups/{identifier}"): _of(_provided, "/scim/v2/Groups/{group}", None),
}
COMMON = {"v", "log", "type", "id", "at", "writer", "n", "prev", "salt", "actor"}
# What the one entry of each says beside actor, time and place in the log.
ENTRIES = {
    "POST /v1/agents/{agent}/suspend": "agent_suspended: after agent before",
    "POST /v1/data-sets": "data_set_imported: created kind records rows unchanged updated",
    "POST /v1/people/{person}/revoke": "person_revoked: after before person",
    "PATCH /v1/authorities/{reference}": "change_requested: authority change_request members requested sha256",
    "POST /v1/endpoints": "endpoint_created: endpoint members",
    "POST /v1/directives": "directive_created: directive members",
    "POST /v1/people/{person}/suspend": "person_suspended: after before person",
    "POST /v1/break-glass": "change_requested: change_request members requested sha256",
    "POST /v1/grants": "grant_created: grant members",
    "POST /v1/organizations/{organization}/suspend": "organization_suspended: after before organization",
    "POST /v1/break-glass/{identifier}/review": "break_glass_reviewed: break_glass",
    "POST /v1/people/{reference}/activate": "change_requested: change_request members person requested sha256",
    "POST /v1/grants/{grant}/suspend": "grant_suspended: after before grant",
    "POST /v1/switches": "switch_created: members switch",
    "PATCH /v1/endpoints/{reference}": "endpoint_changed: endpoint members",
    "PATCH /v1/agents/{reference}": "agent_changed: agent members",
    "PATCH /v1/people/{reference}": "person_changed: members person",
    "POST /v1/stops": "stop_set: scope stop",
    "POST /v1/legal-holds": "legal_hold_set: legal_hold scope",
    "POST /v1/legal-holds/{reference}/lift": "change_requested: change_request legal_hold members requested sha256",
    "POST /v1/people/{reference}/erasure": "change_requested: change_request members person requested sha256",
    "POST /v1/log/prune": "change_requested: change_request members requested sha256",
    "PATCH /v1/grants/{reference}": "change_requested: change_request grant members requested sha256",
    "POST /v1/change-requests/{identifier}/withdraw": "change_withdrawn: change_request",
    "POST /v1/change-requests/{identifier}/reject": "change_rejected: change_request",
    "POST /v1/endpoints/import": "imported: created kind records rows unchanged updated",
    "POST /v1/agents": "agent_created: agent members",
    "POST /v1/models": "model_created: members model",
    "POST /v1/stops/{reference}/lift": "change_requested: change_request members requested sha256 stop",
    "PATCH /v1/organizations/{reference}": "change_requested: change_request members organization requested sha256",
    "PATCH /v1/directives/{reference}": "change_requested: change_request directive members requested sha256",
    "POST /v1/grants/{reference}/activate": "change_requested: change_request grant members requested sha256",
    "POST /v1/grants/{grant}/revoke": "grant_revoked: after before grant",
    "POST /v1/agents/import": "imported: created kind records rows unchanged updated",
    "POST /v1/people/{person}/review": "person_reviewed: person",
    "POST /v1/change-requests/{identifier}/approve": "organization_changed: change_request members organization request_sha256 requested_by",
    "POST /v1/organizations": "organization_created: members organization",
    "POST /v1/keys": "change_requested: change_request members requested sha256",
    "POST /v1/keys/{key}/revoke": "key_revoked: key",
    "POST /v1/policies": "policy_stored: sha256",
    "POST /v1/policies/{identifier}/activate": "change_requested: change_request members policy requested sha256",
    "POST /v1/policies/{identifier}/checks": "policy_reported: kind policy report report_sha256",
    "POST /v1/policies/{identifier}/simulations": "simulated: kind policy report report_sha256",
    "POST /v1/policies/{identifier}/replays": "policy_reported: kind policy report report_sha256",
    "POST /v1/policy-cases": "policy_case_added: case_sha256 policy_case",
    "POST /v1/policy-cases/{reference}/lift": "change_requested: change_request members policy_case requested sha256",
    "POST /v1/simulations": "simulated: draft kind policy report report_sha256",
    "POST /v1/policies/{identifier}/watch": "policy_watched: percent rollout starts_at",
    "POST /v1/rollouts/{identifier}/end": "rollout_ended: rollout",
    "POST /v1/agents/{agent}/revoke": "agent_revoked: after agent before",
    "POST /v1/people/{person}/approve": "person_approved: person",
    "POST /v1/endpoints/{endpoint}/revoke": "endpoint_revoked: after before endpoint",
    "POST /v1/screenings": "screenings_recorded: created kind records rows unchanged updated",
    "POST /v1/organizations/{organization}/revoke": "organization_revoked: after before organization",
    "PATCH /v1/models/{reference}": "change_requested: change_request members model requested sha256",
    "POST /v1/data-sets/{identifier}/activate": "change_requested: change_request data_set members requested sha256",
    "POST /v1/authorities": "authority_created: authority members",
    "PUT /v1/people/{person}/assessment": "change_requested: assessment change_request members requested sha256",
    "POST /v1/people/{person}/release-seats": "seats_released: person",
    "PATCH /v1/switches/{reference}": "change_requested: change_request members requested sha256 switch",
    "POST /v1/people/import": "imported: created kind records rows unchanged updated",
    "POST /v1/people/{person}/assessment/withdraw": "assessment_withdrawn: nationality person",
    "POST /v1/agents/{reference}/activate": "change_requested: agent change_request members requested sha256",
    "POST /v1/people": "person_created: members person",
    "POST /v1/invitations": "person_invited: invitation members",
    "POST /v1/invitations/{invitation}/withdraw": "invitation_withdrawn: invitation",
    "POST /v1/organizations/{reference}/activate": "change_requested: change_request members organization requested sha256",
    "POST /v1/screenings/adjudicate": "screening_adjudicated: person",
    "PUT /v1/organizations/{organization}/ownership": "change_requested: change_request members ownership requested sha256",
    "POST /v1/break-glass/{identifier}/close": "break_glass_closed: break_glass",
}
ENTRIES |= {
    "POST /scim/v2/Users": "person_created: members person",
    "PUT /scim/v2/Users/{identifier}": "person_changed: members person",
    "PATCH /scim/v2/Users/{identifier}": "person_changed: members person",
    "DELETE /scim/v2/Users/{identifier}": "person_revoked: after before person",
    "POST /scim/v2/Groups": "group_created: group",
    "PUT /scim/v2/Groups/{identifier}": "group_changed: group",
    "PATCH /scim/v2/Groups/{identifier}": "group_changed: group",
    "DELETE /scim/v2/Groups/{identifier}": "group_deleted: group",
}
# Reads by POST; that exports are recorded is in tests/audit/test_exports.py.
READING = {
    "/v1/log/exports",
    "/scim/v2/.search",
    "/scim/v2/Users/.search",
    "/scim/v2/Groups/.search",
}
# What decisions do not read.
UNREAD = {
    ("POST", "/v1/change-requests/{identifier}/withdraw"),
    ("POST", "/v1/change-requests/{identifier}/reject"),
    ("POST", "/v1/invitations"),
    ("POST", "/v1/invitations/{invitation}/withdraw"),
    ("POST", "/v1/legal-holds"),
    ("POST", "/v1/policies"),
    ("POST", "/v1/policies/{identifier}/checks"),
    ("POST", "/v1/policies/{identifier}/simulations"),
    ("POST", "/v1/policies/{identifier}/replays"),
    ("POST", "/v1/simulations"),
    ("POST", "/v1/policy-cases"),
}
UNREAD |= {route for route in PROVIDED if route[1].startswith("/scim/v2/Groups")}
# The second officer's, because the first has prepared it.
BY_TWO = {
    route
    for route in WRITES
    if route[1].endswith(("{identifier}/approve", "{identifier}/reject", "identifier}/review"))
}


def routes():
    return {
        (method, path): permission_of(route)
        for route in _routes()
        if (path := re.sub(r":path}", "}", route.path)) not in PUBLIC
        for method in route.methods or ()
    }


def test_every_route_that_writes_is_tried():
    writing = {(method, path) for method, path in routes() if method != "GET" and path not in DECIDING | READING}
    assert writing == WRITES.keys() | PROVIDED.keys()


async def send(rest, method, path, members, **more):
    if isinstance(members, str):
        headers = rest.headers | {"Content-Type": "text/csv"} | more
        return await rest.client.request(method, f"/v1/{path}", content=members, headers=headers)
    if path.startswith("/"):
        return await rest.client.request(method, path, json=members, headers=rest.headers | more)
    return await rest(method, path, members, **(ANY if method in {"PUT", "PATCH"} else {}), **more)


async def is_told(service, before, route):
    """That a known caller was refused, and that an unknown one was, once a minute is over; and nothing else."""
    await service.gate.refusals.flush(service.gate.log)
    written = [entry["body"] for entry in (await service.entries())[before:]]
    said = [{name: each[name] for name in each.keys() - COMMON} for each in written if each["type"] != "session_opened"]
    auditor = service.keys[Role.AUDITOR].split("_")[1]
    assert said == [{"key": auditor, "route": route, "status": 403, "count": 1}, {"status": 401, "count": 1}]
    assert {each["type"] for each in written} - {"session_opened"} == {"refused"}


@pytest.mark.parametrize("route", WRITES | PROVIDED, ids=" ".join)
async def test_every_write_leaves_one_entry_and_a_refused_one_says_that_it_was(world, route):
    method, _ = route
    path, members = await (WRITES | PROVIDED)[route](world)
    rest = world.provider if route in PROVIDED else world.two if route in BY_TWO else world.one
    before = len(await world.service.entries())
    ((n,),) = world.service.sql("SELECT n FROM revision")
    nobody: dict[str, str] = {}
    for headers, status in ((nobody, 401), (world.service.authorization(Role.AUDITOR), 403)):
        assert (await send(Rest(world.service, headers), method, path, members)).status_code == status
    assert world.service.sql("SELECT n FROM revision") == [(n,)]
    await is_told(world.service, before, " ".join(route))
    before = len(await world.service.entries())
    done = await send(rest, method, path, members)
    assert done.status_code in {200, 201, 202, 204}, done.text
    written = (await world.service.entries())[before:]
    assert len(written) == 1, [entry["body"]["type"] for entry in written]
    assert named(world.service, await world.service.entries()) == []
    body = written[0]["body"]
    assert f"{body['type']}: {' '.join(sorted(body.keys() - COMMON))}" == ENTRIES[" ".join(route)]
    if done.content and "id" in done.json():
        assert done.json()["id"] in body.values() or route[1] == "/v1/data-sets"
    # One bump, whose stamp is on every key that the change touches; what only waits or is told touches none.
    keys = world.service.sql("SELECT key FROM touched WHERE n = %s", n + 1)
    assert world.service.sql("SELECT n FROM revision") == [(n + 1,)]
    assert bool(keys) == (done.status_code != 202 and route not in UNREAD), keys
    assert body["actor"] == await world.id(
        f"SELECT caller_id FROM api_keys WHERE id = '{rest.headers['Authorization'].split('_')[1]}'"
    )


# --- every answer to an administrator ---------------------------------------------------------------------------

MARKS = ("UTOPIA", "1977-07-07", "LIST-77", "Grey Holding", "Parent Marker", "SECTOR-77", "V-1", "G-1")
WORDS = (
    "us_person", "us_basis", "citizenship", "residenc", "nationalit", "evidence_expires", "screening", "screened",
    "ownership", "parent_", "_match", "foreign", "presence", "true_match",
)  # fmt: skip
READS = {
    "/v1/people": ["people", "people?organization=other", "people?expiring_within=365"],
    "/v1/people/{reference}": ["people/acme/ca", "people/other/them"],
    "/v1/invitations": ["invitations", "invitations?limit=1"],
    "/v1/invitations/{invitation}": ["invitations/none"],
    "/v1/people/export": ["people/export", "people/export?organization=other"],
    "/v1/people/{person}/eligibility": ["people/acme/ca/eligibility", "people/acme/us/eligibility"],
    "/v1/eligibility": ["eligibility", "eligibility?reason=CITIZENSHIP_EMBARGOED", "eligibility?status=not_eligible"],
    "/v1/agents": ["agents"],
    "/v1/agents/{reference}": ["agents/acme/bot"],
    "/v1/agents/export": ["agents/export"],
    "/v1/endpoints": ["endpoints"],
    "/v1/endpoints/{reference}": ["endpoints/acme/ep-1"],
    "/v1/endpoints/export": ["endpoints/export"],
    "/v1/attention": ["attention?within=3650"],
}


async def test_no_answer_to_an_administrator_tells_what_is_not_theirs(world):
    service, admin = world.service, world.admin
    await service.load(
        organizations="organization,name,status,parent_name,parent_country,sector\nacme,Acme,active,Parent Marker,US,SECTOR-77\n",
        people="organization,external_id,employment,work_country,us_person,citizenships,evidence_expires\n"
        "acme,ca,employee,DE,no,UTOPIA@1977-07-07,2027-07-07\nother,them,employee,US,unknown,,\n",
        ownerships="organization,owner,percent\nacme,Grey Holding,60\n",
        screenings="organization,person,status,screened_at,list_version\nacme,ca,true_match,1977-07-07,LIST-77\n",
    )
    permitted = service.gate.permissions.of([Role.ORG_ADMIN])
    own = {route for route, permission in routes().items() if permission in permitted}
    assert {path for method, path in own if method == "GET"} == READS.keys()
    answers = [await admin("GET", path) for paths in READS.values() for path in paths]
    assert [answer.status_code for answer in answers].count(200) >= len(READS)
    # What is written, and what is refused, is answered as well; who has left comes last.
    last = ("/revoke", "/suspend")
    for method, path in sorted((each for each in own if each[0] != "GET"), key=lambda each: each[1].endswith(last)):
        concrete, members = await WRITES[method, path](world)
        for subject in (concrete, concrete.replace("acme/", "other/")):
            answers.append(await send(admin, method, subject, members))
    assert len([answer for answer in answers if answer.status_code in {200, 201}]) > 25
    for answer in answers:
        told = answer.text + str(dict(answer.headers))
        path = answer.request.url.path
        assert [mark for mark in MARKS if mark in told] == [], (path, told)
        assert [word for word in WORDS if word in told.lower()] == [], (path, told)
    # The marks are there to be told: an officer sees them.
    officer = world.one
    full = "".join([(await officer("GET", path)).text for path in (
        "people/acme/ca/assessment", "organizations/acme", "organizations/acme/ownership", "screenings", "grants",
    )])  # fmt: skip
    assert [mark for mark in MARKS if mark not in full] == []


async def test_an_administrators_filters_reveal_nothing(world):
    """What a caller is not shown cannot be found out by asking for it."""
    await world.service.load(screenings="organization,person,status,screened_at\nacme,ca,pending,now-1h\n")
    for query in ("people?us_person=no", "people?citizenships=IR", "people?screening=pending", "agents?attested=true"):
        assert (await world.admin("GET", query)).status_code == 400
    assert (await world.admin("GET", "eligibility?reason=SCREENING_HIT_PENDING")).json()["items"] == []
    later = (world.service.now + timedelta(days=1)).isoformat()
    assert (await world.admin("GET", f"attention?cursor={later} evidence x")).status_code in {200, 400}
