"""Places under an authority's cap: never more organizations than it allows, now or at once, and the past can be told."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from mythos_gate.errors import Conflict
from mythos_gate.terms import Role
from tests.service import question, until

pytestmark = pytest.mark.anyio
HEADER = "authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes\n"


def grant(organization, reference, status="active", until="now+90d"):
    return f"orrery,{reference},{organization},mythos-5,{status},now-1d,{until},5.1,vuln-discovery,own\n"


@pytest.fixture
async def full(service):
    """acme holds the only place of orrery's."""
    await service.load(authorities="authority,name,kind,organization_cap\norrery,Orrery Labs,vendor,1\n")
    return service


async def test_a_second_organization_finds_no_place_and_nothing_is_written(full):
    with pytest.raises(Conflict, match="2 organizations would hold grants of orrery, whose cap is 1"):
        await full.load(grants=HEADER + grant("other", "V-2"))
    assert full.sql("SELECT count(*) FROM grants WHERE reference = 'V-2'") == [(0,)]


async def test_another_grant_of_the_same_organization_takes_no_other_place(full):
    await full.load(grants=HEADER + grant("acme", "V-2"))


@pytest.mark.parametrize("status", ["draft", "revoked"])
async def test_what_is_not_in_force_takes_no_place(full, status):
    await full.load(grants=HEADER + grant("other", "V-2", status))


async def test_what_has_expired_takes_no_place(full):
    await full.load(grants=HEADER + grant("other", "V-2", until="now-1h"))


@pytest.mark.parametrize("step", ["suspend", "revoke"])
async def test_a_place_is_freed_by_revoking_the_last_grant_not_by_suspending_it(full, step):
    ((identifier,),) = full.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    assert (await full.post(f"/v1/grants/{identifier}/{step}")).status_code == 200
    if step == "revoke":
        await full.load(grants=HEADER + grant("other", "V-2"))
    else:
        with pytest.raises(Conflict):
            await full.load(grants=HEADER + grant("other", "V-2"))


async def test_a_draft_is_not_suspended_into_a_place(full):
    await full.load(grants=HEADER + grant("other", "V-2", "draft"))
    ((draft,),) = full.sql("SELECT id FROM grants WHERE reference = 'V-2'")
    assert (await full.post(f"/v1/grants/{draft}/suspend")).status_code == 409


async def test_where_too_many_hold_a_place_narrowing_is_not_refused(service):
    await service.load(grants=HEADER + grant("other", "V-2"))
    service.sql("ALTER TABLE authorities DISABLE TRIGGER ALL; UPDATE authorities SET organization_cap = 1")
    await service.load(grants=HEADER + grant("other", "V-2", until="now+30d"))
    await service.load(organizations="organization,name,status\nthird,Third,active\n")
    with pytest.raises(Conflict):
        await service.load(grants=HEADER + grant("third", "V-3"))


async def test_a_cap_is_not_lowered_below_what_is_taken(service):
    with pytest.raises(Conflict, match="whose cap is 0"):
        await service.load(authorities="authority,name,kind,organization_cap\norrery,Orrery Labs,vendor,0\n")


async def test_of_two_who_take_the_last_place_at_once_one_gets_it(service):
    await service.load(authorities="authority,name,kind,organization_cap\norrery,Orrery Labs,vendor,2\n")
    await service.load(organizations="organization,name,status\nthird,Third,active\n")
    waiting = (
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    service.sql("ALTER TABLE touched DISABLE TRIGGER stamped")
    with psycopg.connect(service.database) as first:
        first.execute("SELECT FROM authorities WHERE slug = 'orrery' FOR NO KEY UPDATE")
        second = asyncio.create_task(service.load(grants=HEADER + grant("other", "V-2")))
        await until(lambda: service.sql(waiting) == [(True,)])
        first.execute(
            "INSERT INTO grants SELECT 'grt_x', g.authority_id, o.id, g.model_id, 'V-3', NULL, 'active', NULL,"
            " g.not_before, g.not_after, g.versions, g.capabilities, g.purposes, g.foreign_nationals, g.excluded_groups,"
            " g.nationality_basis, g.allowed_countries, g.contractors, g.agents, g.seat_cap"
            " FROM grants g, organizations o WHERE g.reference = 'V-1' AND o.slug = 'third'"
        )
        first.commit()
    with pytest.raises(Conflict):
        await second


# --- the past ---------------------------------------------------------------------------------------------------


async def usage(service, at=None, role=Role.AUDITOR):
    answer = await service.client.get(
        "/v1/authorities/orrery/usage",
        params={"at": at.isoformat()} if at else {},
        headers=service.authorization(role),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_is_taken_can_be_told_for_any_instant(full):
    empty = full.now
    ((grant_id,),) = full.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    assert (await full.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    seated = full.now
    await full.post("/v1/people/acme/ca/suspend")
    assert (await full.post(f"/v1/grants/{grant_id}/revoke")).status_code == 200
    told = [await usage(full, at) for at in (empty, seated, None)]
    assert [(each["organizations"], each["organization_cap"]) for each in told] == [(1, 1), (1, 1), (0, 1)]
    assert [[(each["reference"], each["used"], each["status"]) for each in at["grants"]] for at in told] == [
        [("V-1", 0, "active")], [("V-1", 1, "active")], [("V-1", 0, "revoked")],
    ]  # fmt: skip


async def test_before_an_authority_was_on_record_there_is_none(full):
    headers = full.authorization(Role.COMPLIANCE)
    long_ago = (full.now - timedelta(days=1)).isoformat()
    for path in ("orrery/usage?at=" + long_ago.replace("+", "%2B"), "nobody/usage"):
        assert (await full.client.get(f"/v1/authorities/{path}", headers=headers)).status_code == 404
    for at in ("2026-01-01", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
        assert (await full.client.get(f"/v1/authorities/orrery/usage?at={at}", headers=headers)).status_code == 400
    ((identifier,),) = full.sql("SELECT id FROM authorities WHERE slug = 'orrery'")
    assert (await full.client.get(f"/v1/authorities/{identifier}/usage", headers=headers)).status_code == 200


async def test_a_gateway_is_told_nothing_of_the_programme(full):
    answer = await full.get("/v1/authorities/orrery/usage", Role.GATEWAY)
    assert answer.status_code == 403
