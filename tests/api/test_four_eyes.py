"""A change takes two natural persons, qualified and distinct: cases A03 and A06 of the programme, and ways around them.

A03, "Change reviewed by one person twice": the same person approves under two roles; rejected as
POLICY_CHANGE_APPROVAL_INCOMPLETE, because approvers are distinct natural persons. A06, "Adjudicator is the requester":
p-500 requested access and clears the own candidate's hit; rejected as ADJUDICATOR_CONFLICT, separation of duties.
"""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest
from tests.service import question

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}
LEE = "organization,external_id,employment\nother,lee,employee\nother,p-500,employee\n"


async def screening(service, subject):
    return (await service.ask(question(subject))).json()["context"]["reason_admin"]["facts"]["screening"]


async def rest(service, role=Role.COMPLIANCE, **scope):
    return Rest(service, await service.key(role, **scope))


async def test_a03_one_person_does_not_approve_under_two_roles(service):
    """The change of A03: a group that a grant excludes is taken from its list."""
    await service.load(people=LEE)
    officer = await rest(service, Role.OFFICER, authority="orrery", person="other/lee")
    compliance = await rest(service, person="other/lee")
    third = await rest(service)
    ((grant,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    for one, other in ((officer, compliance), (compliance, officer)):
        members = {"excluded_groups": ["E:1", "E:2", "MO"]}
        await one.simulated(f"grants/{grant}", members)
        made = await one("PATCH", f"grants/{grant}", members, **ANY)
        assert made.status_code == 202, made.text
        for rejected in (await other.approve(made.json()["id"]), await other.approve(made.json()["id"])):
            assert (rejected.status_code, rejected.json()["code"]) == (403, "POLICY_CHANGE_APPROVAL_INCOMPLETE")
        kept = (await third("GET", f"grants/{grant}")).json()["excluded_groups"]
        assert "D:5" in kept
        assert (await one.approve(made.json()["id"])).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    assert (await third.approve(made.json()["id"])).status_code == 200
    assert "D:5" not in (await third("GET", f"grants/{grant}")).json()["excluded_groups"]


async def test_a06_whoever_requested_access_does_not_clear_the_candidates_hit(service):
    await service.load(people=LEE)
    p500, one, two = await rest(service, person="other/p-500"), await rest(service), await rest(service)
    new = {"organization": "acme", "external_id": "candidate", "employment": "employee"}
    assert (await p500("POST", "people", new)).status_code == 201
    hit = {"items": [{"organization": "acme", "person": "candidate", "status": "pending"}]}
    assert (await one("POST", "screenings", hit)).status_code == 200
    verdict = {"organization": "acme", "person": "candidate", "status": "false_positive"}
    rejected = await p500("POST", "screenings/adjudicate", verdict)
    assert (rejected.status_code, rejected.json()["code"]) == (403, "ADJUDICATOR_CONFLICT")
    made = (await one("POST", "screenings/adjudicate", verdict)).json()
    assert (made["before"], made["after"]) == ({"status": "pending"}, {"status": "false_positive"})
    rejected = await p500.approve(made["id"])
    assert (rejected.status_code, rejected.json()["code"]) == (403, "ADJUDICATOR_CONFLICT")
    assert await screening(service, "acme/candidate") == "pending"
    assert (await two.approve(made["id"])).status_code == 200
    assert await screening(service, "acme/candidate") != "pending"


@pytest.mark.parametrize("nobody", ["a key of nobody on record", "a service's key"])
async def test_whoever_is_not_on_record_neither_requests_nor_decides(service, nobody):
    theirs = await rest(service, person=None)
    if "service" in nobody:
        theirs = Rest(service, service.authorization(Role.COMPLIANCE))
    one, two = await rest(service), await rest(service)
    before = service.sql("SELECT count(*) FROM change_requests")
    opening = {"organization": "acme", "incident": "I-1", "hours": 1}
    steps: list[tuple[str, str, dict[str, object]]] = [
        ("PATCH", "organizations/acme", {"name": "x"}),
        ("POST", "grants", NEW["grants"] | {"status": "active"}),
        ("POST", "break-glass", opening),
        ("POST", "keys", {"name": "Grace Marlow", "roles": ["compliance"]}),
    ]
    for method, path, members in steps:
        refused = await theirs(method, path, members, **ANY)
        assert (refused.status_code, refused.json()["code"]) == (403, "APPROVER_NOT_QUALIFIED"), path
    assert before == service.sql("SELECT count(*) FROM change_requests")
    made = (await one("PATCH", "organizations/acme", {"name": "x"}, **ANY)).json()
    glass = (await one("POST", "break-glass", opening)).json()
    for path, decision in [
        (f"change-requests/{made['id']}/approve", {"sha256": made["sha256"]}),
        (f"change-requests/{made['id']}/reject", {"reason": "no"}),
        (f"change-requests/{glass['id']}/approve", {"sha256": glass["sha256"]}),
    ]:
        refused = await theirs("POST", path, decision)
        assert (refused.status_code, refused.json()["code"]) == (403, "APPROVER_NOT_QUALIFIED"), path
    assert (await two.approve(made["id"])).status_code == 200
    # What takes access away waits for nobody.
    assert (await theirs("POST", "people/acme/us/suspend")).status_code == 200


async def test_whom_a_change_is_about_does_not_approve_it(service):
    us, one, two = await rest(service, person="acme/us"), await rest(service), await rest(service)
    hold = {"scope": "person", "target": "acme/us", "matter": "M-1"}
    held = (await one("POST", "legal-holds", hold)).json()["id"]
    await one("POST", "agents/acme/bot/suspend")
    ((grant,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    listing = {"foreign_nationals": "listed", "listed_people": ["us", "ca"]}
    for method, path, members in [
        ("POST", f"legal-holds/{held}/lift", None),
        ("POST", "agents/acme/bot/activate", None),
        ("PATCH", f"grants/{grant}", listing),
        ("POST", "grants", NEW["grants"] | {"status": "active", "organization": "acme"} | listing),
    ]:
        await one.simulated(path, members)
        made = await one(method, path, members, **ANY)
        assert made.status_code == 202, made.text
        refused = await us.approve(made.json()["id"])
        assert (refused.status_code, refused.json()["code"]) == (403, "SELF_APPROVAL_FORBIDDEN"), path
        assert (await two.approve(made.json()["id"])).status_code == 200, path
    # Somebody of the same name elsewhere is somebody else.
    await service.load(people="organization,external_id,employment\nother,ca,employee\n")
    namesake = await rest(service, person="other/ca")
    made = await one("PATCH", f"grants/{grant}", {"listed_people": ["us"]}, **ANY)
    again = await one("PATCH", f"grants/{grant}", {"listed_people": ["us", "ca"]}, **ANY)
    waiting = (again if again.status_code == 202 else made).json()
    assert (await namesake.approve(waiting["id"])).status_code == 200


async def test_who_may_not_decide_such_a_thing_does_not(service):
    """The permission is asked for each kind of subject, not for requests as such."""
    officer = await rest(service, Role.OFFICER, authority="orrery")
    one = await rest(service)
    await one("POST", "people/acme/us/suspend")
    for method, path, members in [
        ("POST", "people/acme/us/activate", None),
        ("PUT", "people/acme/ca/assessment", {"us_person": "unknown"}),
    ]:
        made = await one(method, path, members, **ANY)
        assert made.status_code == 202, made.text
        decision = {"sha256": made.json()["sha256"]}
        assert (await officer("POST", f"change-requests/{made.json()['id']}/approve", decision)).status_code == 404
