"""Approvals and reviews: each a person's own word, never of whoever asked; and the release of seats."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio


async def test_a_person_is_approved_by_two_who_did_not_ask(service):
    admin, first, second = [
        Rest(service, await service.key(role, **scope))
        for role, scope in ((Role.ORG_ADMIN, {"organization": "acme"}), (Role.COMPLIANCE, {}), (Role.COMPLIANCE, {}))
    ]
    service.sql(
        "ALTER TABLE approvals DISABLE TRIGGER ALL; DELETE FROM approvals; ALTER TABLE approvals ENABLE TRIGGER ALL"
    )

    async def reasons():
        return (await service.ask(question("acme/ca", country="DE"))).json()["context"]["reason_admin"]["codes"]

    assert await reasons() == ["APPROVAL_INCOMPLETE"]
    assert (await first("POST", "people/acme/ca/approve")).status_code == 200
    assert await reasons() == ["APPROVAL_INCOMPLETE"]
    again = await first("POST", "people/acme/ca/approve")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "you have approved this person before: another approver must",
    )
    assert await reasons() == ["APPROVAL_INCOMPLETE"]
    done = await second("POST", "people/acme/ca/approve")
    assert len(done.json()["approvals"]) == 2
    assert await reasons() == ["ALLOW"]
    assert (await admin("POST", "people/acme/ca/approve")).status_code == 403
    entries = [item["body"] for item in await service.entries() if item["body"]["type"] == "person_approved"]
    actors = service.sql("SELECT id FROM callers WHERE person_id = ANY (%s)", done.json()["approvals"])
    assert {entry["actor"] for entry in entries} == {actor for (actor,) in actors}
    assert len(entries) == 2


async def test_whoever_asked_does_not_approve(service):
    officer = Rest(service, await service.key(Role.COMPLIANCE))
    await officer("POST", "people", {"organization": "acme", "external_id": "new", "employment": "employee"})
    answer = await officer("POST", "people/acme/new/approve")
    assert answer.status_code == 409
    assert service.sql(
        "SELECT count(*) FROM approvals a JOIN people p ON p.id = person_id WHERE external_id = 'new'"
    ) == [(0,)]


async def test_a_services_key_approves_nobody(service):
    answer = await Rest(service, service.authorization(Role.COMPLIANCE))("POST", "people/acme/ca/approve")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:mythos-gate:problem:not-permitted")


@pytest.mark.parametrize("step", ["approve", "review"])
async def test_who_is_not_on_record_approves_and_reviews_nobody(service, step):
    """Whatever the role: of two names the gate could not know that they are two people."""
    members = {"due": (service.now + timedelta(days=90)).isoformat()} if step == "review" else None
    for role, scope in ((Role.COMPLIANCE, {}), (Role.ORG_ADMIN, {"organization": "acme"})):
        nameless = Rest(service, await service.key(role, person=None, **scope))
        answer = await nameless("POST", f"people/acme/ca/{step}", members)
        assert (answer.status_code, answer.json()["code"]) == (403, "APPROVER_NOT_QUALIFIED")


@pytest.mark.parametrize("when", ["before they are on record", "when they are"])
async def test_an_approval_that_was_imported_and_the_same_persons_own_are_one(service, when):
    known = "organization,external_id,employment\nother,kim,employee\n"
    listed = "organization,external_id,employment,approvals,requested_by\nacme,ca,employee,other/kim,{}\n"
    if when == "when they are":
        await service.load(people=known)
    await service.load(people=listed.format("r1"))
    await service.load(people=known)
    kim, lee = [Rest(service, await service.key(Role.COMPLIANCE, **person)) for person in ({"person": "other/kim"}, {})]

    async def facts():
        return (await service.ask(question("acme/ca", country="DE"))).json()["context"]["reason_admin"]["facts"]

    [(own,)] = service.sql("SELECT id FROM people WHERE external_id = 'kim'")
    again = await kim("POST", "people/acme/ca/approve")
    assert (again.status_code, "you have approved" in again.json()["detail"]) == (409, True)
    # However it came to be that both are there.
    async with service.gate.registry.change("test", "test") as change:
        both = text("INSERT INTO approvals SELECT id, :own FROM people WHERE external_id = 'ca'")
        await change.connection.execute(both, {"own": own})
    assert (await facts())["approval"] == "incomplete"
    assert (await lee("POST", "people/acme/ca/approve")).status_code == 200
    assert (await facts())["approval"] == "complete"
    # Nor does whoever asked count, in whichever form it is said.
    await service.load(people="organization,external_id,employment,requested_by\nacme,ca,employee,other/kim\n")
    assert (await facts())["approval"] == "incomplete"


async def test_nobody_on_record_is_404(service):
    officer = Rest(service, await service.key(Role.COMPLIANCE))
    assert (await officer("POST", "people/acme/nobody/approve")).status_code == 404


async def test_a_review_puts_off_the_next_one(service):
    await service.load(people="organization,external_id,employment,review_due\nacme,us,employee,now-1d\n")
    officer = Rest(service, await service.key(Role.COMPLIANCE))

    async def primary():
        return (await service.ask(question())).json()["context"]["reason_admin"]["primary"]

    assert await primary() == "ACCESS_REVIEW_OVERDUE"
    due = (service.now + timedelta(days=90)).isoformat()
    answer = await officer("POST", "people/acme/us/review", {"due": due})
    assert answer.status_code == 200, answer.text
    assert await primary() == "ALLOW"
    for wrong, status in {"2020-01-01T00:00:00Z": 409, "2029-01-01": 400, "": 400}.items():
        assert (await officer("POST", "people/acme/us/review", {"due": wrong})).status_code == status
    automatic = Rest(service, service.authorization(Role.COMPLIANCE))
    assert (await automatic("POST", "people/acme/us/review", {"due": due})).status_code == 403
    made = await officer("POST", "people", {"organization": "acme", "external_id": "new", "employment": "employee"})
    assert made.status_code == 201
    assert (await officer("POST", "people/acme/new/review", {"due": due})).status_code == 409


async def test_an_administrator_releases_the_seats_of_the_own_staff(service):
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    own, other = [Rest(service, await service.key(Role.ORG_ADMIN, organization=name)) for name in ("acme", "other")]
    assert (await other("POST", "people/acme/ca/release-seats")).status_code == 404
    assert service.sql("SELECT sum(used) FROM seat_counts") == [(2,)]
    assert (await own("POST", "people/acme/ca/release-seats")).status_code == 200
    assert service.sql("SELECT sum(used), (SELECT count(*) FROM seats) FROM seat_counts") == [(0, 0)]
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    assert service.sql("SELECT sum(used) FROM seat_counts") == [(2,)]
    assert [item["body"]["type"] for item in await service.entries()].count("seats_released") == 1


async def test_an_administrator_approves_staff_under_the_name_on_record(service):
    await service.load(
        people="organization,external_id,employment\nacme,lee,employee\nacme,kim,employee\nacme,new,employee\n"
    )
    nameless, lee, kim = [
        Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", **person))
        for person in ({}, {"person": "acme/lee"}, {"person": "acme/kim"})
    ]
    refused = await nameless("POST", "people/acme/new/approve")
    assert (refused.status_code, refused.json()["code"]) == (403, "APPROVER_NOT_QUALIFIED")
    for admin in (lee, kim):
        assert (await admin("POST", "people/acme/new/approve")).status_code == 200
    assert service.sql(
        "SELECT approver FROM approvals a JOIN people p ON p.id = person_id WHERE external_id = 'new' ORDER BY 1"
    ) == [("kim",), ("lee",)]
    # Neither the own access, nor what they asked for.
    assert (await lee("POST", "people/acme/lee/approve")).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    await lee("POST", "people", {"external_id": "later", "employment": "employee"})
    assert (await lee("POST", "people/acme/later/approve")).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    other = Rest(service, await service.key(Role.ORG_ADMIN, organization="other", person="acme/lee"))
    assert (await other("POST", "people/acme/new/approve")).status_code == 404


async def test_one_person_with_two_keys_is_one_approver(service):
    await service.load(people="organization,external_id,employment\nacme,lee,employee\nacme,new,employee\n")
    keys = [Rest(service, await service.key(Role.ORG_ADMIN, organization="acme", person="acme/lee")) for _ in range(2)]
    assert [(await key("POST", "people/acme/new/approve")).status_code for key in keys] == [200, 409]
