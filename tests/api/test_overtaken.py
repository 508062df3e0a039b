"""What another change does while a request waits for the record: the request then meets the record as it has become."""

import asyncio
from datetime import timedelta

import pytest

from mythos_gate.api.deps import authenticate
from mythos_gate.api.resources import writer
from mythos_gate.authn import api_keys
from mythos_gate.registry import (
    assessments,
    change_requests,
    imports,
    onboarding,
    resources,
    screenings,
    standing,
)
from mythos_gate.registry.change_requests import Decision
from mythos_gate.registry.policy_reports import Draft
from mythos_gate.terms import ReportKind, Role
from tests.api.test_data_sets import embargo, send
from tests.api.test_resources import Rest

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Officers:
    """One requests, another approves within a change of the test's, and a third is late."""

    def __init__(self, service, one, late, theirs):
        self.service, self.one, self.late, self.writer = service, one, late, theirs

    async def overtaken(self, first, method, path, members=None, **headers):
        """The status of a request that was sent after `first(change)` wrote, and before that was committed."""
        async with self.service.gate.registry.change("test", "test") as change:
            await first(change)
            asked = asyncio.create_task(self.late(method, path, members, **headers))
            for _ in range(500):
                if asked.done() or self.service.sql(WAITING) != [(0,)]:
                    break
                await asyncio.sleep(0.01)
        return (await asked).status_code

    async def approval(self, identifier):
        """The request that approves it."""
        seen = (await self.late("GET", f"change-requests/{identifier}")).json()["sha256"]
        return "POST", f"change-requests/{identifier}/approve", {"sha256": seen}

    async def approve(self, change, identifier):
        [(seen,)] = self.service.sql("SELECT sha256 FROM change_requests WHERE id = %s", identifier)
        await change_requests.approve(change, identifier, Decision(seen), self.writer)

    async def proposed(self, method, path, members=None, **headers):
        answer = await self.one(method, path, members, **headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


@pytest.fixture
async def officers(service):
    keys = [await service.key(Role.COMPLIANCE) for _ in range(3)]
    theirs = writer(service.gate, await authenticate(service.gate, api_keys.bearer(keys[2]["Authorization"])))
    return Officers(service, Rest(service, keys[0]), Rest(service, keys[1]), theirs)


@pytest.mark.parametrize("decision", ["reject", "approve"])
async def test_a_proposal_is_decided_once(service, officers, decision):
    made = await officers.proposed("PATCH", "organizations/acme", {"parent_country": "FR"}, **ANY)

    async def first(change):
        if decision == "approve":
            await officers.approve(change, made)
        else:
            await change_requests.reject(change, made, "not now", officers.writer)

    assert await officers.overtaken(first, *await officers.approval(made)) == 409
    expected = "US" if decision == "reject" else "FR"
    assert (await officers.one("GET", "organizations/acme")).json()["parent_country"] == expected


async def test_a_record_is_changed_as_it_was_read(officers):
    tag = (await officers.one("GET", "people/acme/us")).headers["etag"]

    async def first(change):
        await resources.alter(change, resources.PERSON, "acme/us", {"name": "First"}, tag, officers.writer)

    assert await officers.overtaken(first, "PATCH", "people/acme/us", {"name": "Late"}, **{"If-Match": tag}) == 412
    assert (await officers.one("GET", "people/acme/us")).json()["name"] == "First"


@pytest.mark.parametrize(
    ("method", "path", "members"),
    [
        ("PUT", "people/acme/ca/assessment", {"us_person": "yes", "us_basis": "lpr", "citizenships": [], "permanent_residencies": []}),
        ("PUT", "organizations/acme/ownership", {"owners": [{"owner": "A", "percent": "60", "blocked": True}]}),
    ],
    ids=["assessment", "ownership"],
)  # fmt: skip
async def test_of_two_change_requests_about_the_same_state_one_is_done(officers, method, path, members):
    one, two = [await officers.proposed(method, path, members, **ANY) for _ in range(2)]

    async def first(change):
        await officers.approve(change, one)

    assert await officers.overtaken(first, *await officers.approval(two)) == 412


async def test_a_status_is_withdrawn_once(officers):
    async def first(change):
        await assessments.withdraw(change, "acme/ca", officers.writer)

    assert await officers.overtaken(first, "POST", "people/acme/ca/assessment/withdraw") == 409


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("people/acme/us", standing.suspend_person),
        ("agents/acme/bot", standing.suspend_agent),
    ],
)
async def test_what_is_suspended_meanwhile_is_not_suspended_again(officers, path, step):
    async def first(change):
        await step(change, path.partition("/")[2], None, officers.writer.caller)

    assert await officers.overtaken(first, "POST", f"{path}/suspend") == 409


async def test_whoever_is_named_as_requester_meanwhile_does_not_approve(service, officers):
    new = {"organization": "acme", "external_id": "x", "employment": "employee"}
    asked = (await officers.late("POST", "people", new)).json()["requested_by"]
    # In a file they go by their own name.
    [(caller,)] = officers.service.sql(
        "SELECT o.slug || '/' || p.external_id FROM people p JOIN organizations o ON o.id = organization_id WHERE p.id = %s", asked
    )  # fmt: skip
    text = f"organization,external_id,employment,requested_by\nacme,us,employee,{caller}\n"

    async def first(change):
        await imports.load(change, "people", text.encode(), now=service.now)

    assert await officers.overtaken(first, "POST", "people/acme/us/approve") == 409
    assert (await officers.one("GET", "people/acme/us")).json()["approvals"] == ["a1", "a2"]


async def test_a_hit_is_adjudicated_as_it_was_proposed(service, officers):
    await service.load(screenings="organization,person,status,screened_at\nacme,us,pending,now-1h\n")
    verdict = {"organization": "acme", "person": "us", "status": "false_positive"}
    one = await officers.proposed("POST", "screenings/adjudicate", verdict)
    newer = [{"organization": "acme", "person": "us", "status": "pending", "screened_at": "2026-11-01T00:00:00Z"}]

    async def first(change):
        await resources.take_all(change, screenings.RECORDING, newer, service.now)

    assert await officers.overtaken(first, *await officers.approval(one)) == 412


async def test_the_same_results_twice_at_once_are_one(service, officers):
    await service.load(organizations="organization,name,status\nnew,New,active\n")
    items = [{"organization": "new", "status": "clear", "screened_at": "2026-11-01T00:00:00Z"}]

    async def first(change):
        await resources.take_all(change, screenings.RECORDING, items, service.now)

    assert await officers.overtaken(first, "POST", "screenings", {"items": items}) == 200


async def test_the_same_list_twice_at_once_is_one(service, officers):
    key = await service.key(Role.ORG_ADMIN, organization="acme")
    theirs = writer(service.gate, await authenticate(service.gate, api_keys.bearer(key["Authorization"])))
    listed = b"external_id,employment\ne-1,employee\n"

    async def first(change):
        await onboarding.take(change, resources.PERSON, listed, theirs)

    async def late(*_):
        sent = key | {"Content-Type": "text/csv"}
        return await service.client.post("/v1/people/import", content=listed, headers=sent)

    officers.late = late
    assert await officers.overtaken(first, "POST", "people/import") == 200


async def test_a_data_set_replaces_the_one_that_it_was_compared_with(service, officers):
    ids = [(await send(officers.one, embargo(code), code)).json()["id"] for code in ("DE", "FR")]
    review = {"reviewed_at": (service.now - timedelta(hours=1)).isoformat()}
    for each in ids:
        await service.simulated(Draft(members={"data_set": each}), kinds=[ReportKind.IMPACT])
    one, two = [await officers.proposed("POST", f"data-sets/{each}/activate", review) for each in ids]

    async def first(change):
        await officers.approve(change, one)

    assert await officers.overtaken(first, *await officers.approval(two)) == 412
