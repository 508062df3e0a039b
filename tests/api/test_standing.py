"""Suspend and revoke: effective on the next decision."""

import psycopg
import pytest

from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio


def grant(service, reference):
    ((identifier,),) = service.sql("SELECT id FROM grants WHERE reference = %s", reference)
    return identifier


@pytest.mark.parametrize(
    ("path", "subject", "kind", "code"),
    [
        ("/v1/organizations/acme/suspend", "acme/us", "person", "ORG_SUSPENDED"),
        ("/v1/organizations/acme/revoke", "acme/us", "person", "ORG_NOT_AUTHORIZED"),
        ("/v1/people/acme/us/revoke", "acme/us", "person", "EMPLOYMENT_ENDED"),
        ("/v1/endpoints/acme/ep-1/revoke", "acme/us", "person", "ENDPOINT_NOT_REGISTERED"),
        ("/v1/grants/{V-1}/suspend", "acme/us", "person", "AUTHORIZATION_SUSPENDED"),
        ("/v1/grants/{V-1}/revoke", "acme/us", "person", "AUTHORIZATION_REVOKED"),
        ("/v1/people/acme/us/suspend", "acme/us", "person", "PERSON_SUSPENDED"),
        ("/v1/agents/acme/bot/suspend", "acme/bot", "agent", "AGENT_NOT_REGISTERED"),
        ("/v1/agents/acme/bot/revoke", "acme/bot", "agent", "AGENT_NOT_REGISTERED"),
    ],
)
async def test_the_next_decision_denies(service, path, subject, kind, code):
    asked = question(subject, kind=kind)
    assert (await service.ask(asked)).json()["decision"] is True
    done = await service.post(path.replace("{V-1}", grant(service, "V-1")), json={"reason": "found out"})
    assert done.status_code == 200, done.text
    said = (await service.ask(asked)).json()
    assert said["decision"] is False
    assert said["context"]["reason_admin"]["primary"] == code
    entry = [item["body"] for item in await service.entries()][-2]
    before = "employee" if path == "/v1/people/acme/us/revoke" else "active"
    assert (entry["before"], entry["after"]) == (before, done.json()["status"])
    assert [(entry["actor"],)] == service.sql("SELECT id FROM callers WHERE name = 'test compliance'")
    assert "found out" not in str(entry)
    table = path.split("/")[2]
    assert service.sql(f"SELECT status_reason FROM {table} WHERE id = %s", done.json()["id"]) == [("found out",)]


async def test_by_the_gates_own_id_too(service):
    ((person,),) = service.sql("SELECT id FROM people WHERE external_id = 'us'")
    assert (await service.post(f"/v1/people/{person}/suspend")).json() == {"id": person, "status": "suspended"}


async def test_an_import_that_is_under_way_keeps_no_suspension_waiting(service):
    with psycopg.connect(service.database) as other:
        other.execute(
            "INSERT INTO people (id, organization_id, external_id, status, employment)"
            " SELECT 'per_new', id, 'new', 'active', 'employee' FROM organizations WHERE slug = 'acme'"
        )
        assert (await service.post("/v1/organizations/acme/suspend")).status_code == 200
        other.rollback()


@pytest.mark.parametrize("step", ["suspend", "revoke"])
async def test_the_seats_of_a_person_who_leaves_end(service, step):
    await service.ask(question("acme/ca", country="DE"))
    assert service.sql("SELECT sum(used) FROM seat_counts") == [(2,)]
    await service.post(f"/v1/people/acme/ca/{step}")
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]
    assert service.sql("SELECT sum(used) FROM seat_counts") == [(0,)]


async def test_what_is_not_possible_is_409_that_says_what_is(service):
    identifier = grant(service, "V-1")
    await service.post(f"/v1/grants/{identifier}/suspend")
    again = await service.post(f"/v1/grants/{identifier}/suspend")
    assert again.status_code == 409
    assert (
        again.json()["detail"] == "the grant is suspended and cannot become suspended: it can become active or revoked"
    )


@pytest.mark.parametrize(
    ("table", "status", "path", "steps"),
    [
        ("grants", "revoked", "grants/{V-1}", ("suspend", "revoke")),
        ("agents", "revoked", "agents/acme/bot", ("suspend", "revoke")),
        ("organizations", "terminated", "organizations/acme", ("suspend", "revoke")),
    ],
)
async def test_nothing_leads_back_from_the_last_status(service, table, status, path, steps):
    service.sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL; UPDATE {table} SET status = '{status}'")
    for step in steps:
        answer = await service.post(f"/v1/{path.replace('{V-1}', grant(service, 'V-1'))}/{step}")
        assert answer.status_code == 409
        assert answer.json()["detail"].endswith("nothing further is possible")
    assert service.sql(f"SELECT DISTINCT status FROM {table}") == [(status,)]


@pytest.mark.parametrize(
    "path",
    [
        "organizations/nobody",
        "grants/grt_0",
        "people/acme/nobody",
        "people/other/us",
        "people/nobody",
        "agents/acme/us",
    ],
)
async def test_the_unknown_is_404_and_leaves_no_entry(service, path):
    before = service.sql("SELECT n FROM revision")
    assert (await service.post(f"/v1/{path}/suspend")).status_code == 404
    assert before == service.sql("SELECT n FROM revision")


@pytest.mark.parametrize(
    "path", ["organizations/%00", "grants/%00", "people/acme/%00", "agents/%F0%9F", "people/" + "x" * 300]
)
async def test_a_name_that_nothing_can_have_is_no_surprise(service, path):
    assert (await service.post(f"/v1/{path}/suspend")).status_code in {400, 404}


@pytest.mark.parametrize("role", [Role.GATEWAY, Role.AUDITOR])
async def test_only_compliance_may(service, role):
    assert (await service.post("/v1/organizations/acme/suspend", role)).status_code == 403
    assert (await service.ask(question())).json()["decision"] is True


@pytest.mark.parametrize(
    "body", [{"reason": 5}, {"reason": "x" * 600}, {"why": "x"}, [], {"reason": "a\x00"}], ids=repr
)
async def test_a_body_that_cannot_be_read_is_400(service, body):
    answer = await service.post("/v1/organizations/acme/suspend", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert service.sql("SELECT status FROM organizations WHERE slug = 'acme'") == [("active",)]
