"""What stands between a policy and its being in force: a simulation, enough officers, a rollout by stages."""

import asyncio
from datetime import timedelta

import pytest

from mythos_gate.analysis.impact import everybody_at
from mythos_gate.audit.entry import timestamp
from mythos_gate.decision.policy import content_hash
from mythos_gate.decision.rollout import share
from mythos_gate.registry import rollouts
from mythos_gate.registry.policy_reports import Needs
from mythos_gate.terms import Role
from tests.api.test_policies import BASELINE, CLOSED, outcome
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = pytest.mark.anyio
NEW = content_hash(CLOSED)


async def states(officer):  # noqa: F811
    return [each["state"] for each in (await officer("GET", "policies")).json()["items"]]


@pytest.fixture
async def stored(service, officer):  # noqa: F811
    """The id of a policy by which nobody is allowed."""
    made = await officer("POST", "policies", {"files": CLOSED, "reason": "nobody for now"})
    assert made.json()["reason"] == "nobody for now"
    assert made.json()["parent"] == content_hash(BASELINE)
    return made.json()["id"]


async def activated(officer, **plan):  # noqa: F811
    answer = await officer("POST", f"policies/{NEW}/activate", plan or None)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def settled(service):
    """What the process does behind its answers each second."""
    found, waits = service.gate.pdp.compared.take(10_000)
    async with service.gate.registry.engine.begin() as connection:
        await rollouts.record(connection, found)
    assert not waits
    await rollouts.settle(service.gate.registry, service.gate.now)


# --- the simulation that it rests on --------------------------------------------------------------------------


async def test_a_policy_that_was_not_simulated_is_not_approved(service, officer, stored):  # noqa: F811
    """A01."""
    assert await states(officer) == ["active", "draft"]
    refused = await officer("POST", f"policies/{stored}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED"), refused.text
    await service.simulated(stored)
    assert await states(officer) == ["active", "simulated"]
    assert (await officer("POST", f"policies/{stored}/activate")).status_code == 202


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("created_at = created_at - interval '25 hours'", "more than 24 hours ago"),
        ("data_set = repeat('0', 64)", "another policy or data set"),
        ("base = repeat('0', 64)", "another policy or data set"),
        ("passed = false", "must not be put in force"),
    ],
)
async def test_a_simulation_that_holds_no_more_is_none(service, officer, second, stored, change, what):  # noqa: F811
    """Neither when the activation is requested, nor when it is approved."""
    await service.simulated(stored)
    wanted = await activated(officer)
    service.sql("ALTER TABLE policy_reports DISABLE TRIGGER append_only")
    service.sql(f"UPDATE policy_reports SET {change}")
    refused = await officer("POST", f"policies/{stored}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED")
    assert what in refused.json()["detail"]
    if "passed" not in change:
        late = await second.approve(wanted)
        assert (late.status_code, late.json()["code"]) == (403, "POLICY_CHANGE_NOT_SIMULATED")
        assert await outcome(service) == ("allow", 1)


async def test_a_report_is_permanent(service, stored):
    made = await service.simulated(stored)
    for statement in ("UPDATE policy_reports SET passed = true", "DELETE FROM policy_reports"):
        with pytest.raises(Exception, match="append-only"):
            service.sql(statement)
    assert service.sql("SELECT id FROM policy_reports WHERE kind = 'impact'") == [(made,)]


# --- who approves it ------------------------------------------------------------------------------------------


async def test_what_would_change_much_takes_a_third_person_of_an_authority(service, officer, second, stored):  # noqa: F811
    """A02, and A03: nobody counts twice."""
    await service.load_programme()
    await service.simulated(stored, Needs(approvals=2))
    wanted = await activated(officer)
    held = await second.approve(wanted)
    assert (held.status_code, held.json()["state"]) == (202, "requested"), held.text
    assert held.json()["code"] == "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED"
    assert len(held.json()["approvals"]) == 1
    again = await second.approve(wanted)
    assert (again.status_code, again.json()["code"]) == (403, "POLICY_CHANGE_APPROVAL_INCOMPLETE")
    third = Rest(service, await service.key(Role.COMPLIANCE))
    assert (await third.approve(wanted)).status_code == 202  # of no authority
    assert await outcome(service) == ("allow", 1)
    authority = Rest(service, await service.key(Role.OFFICER, authority="export-office"))
    done = await authority.approve(wanted)
    assert (done.status_code, done.json()["state"]) == (200, "approved"), done.text
    assert await outcome(service) == ("deny", 2)


async def test_an_officer_of_an_authority_is_no_second_where_one_suffices(service, officer, second, stored):  # noqa: F811
    await service.load_programme()
    await service.simulated(stored)
    wanted = await activated(officer)
    authority = Rest(service, await service.key(Role.OFFICER, authority="export-office"))
    refused = await authority.approve(wanted)
    assert (refused.status_code, "compliance approves it" in refused.json()["detail"]) == (403, True)
    assert (await authority("POST", f"policies/{stored}/activate")).status_code == 403
    assert (await second.approve(wanted)).status_code == 200


async def test_the_newly_allowed_of_some_countries_are_acknowledged_by_name(service, officer, second, stored):  # noqa: F811
    await service.simulated(stored, Needs(acknowledge=2), ["per_1", "per_2"])
    wanted = await activated(officer)
    for names in ([], ["per_1"]):
        refused = await second.approve(wanted, acknowledged=names)
        assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")
        assert f"{2 - len(names)} newly allowed people" in refused.json()["detail"]
    assert (await second.approve(wanted, acknowledged=["per_2", "per_1"])).status_code == 200


# --- by stages ------------------------------------------------------------------------------------------------


async def test_what_would_change_very_much_starts_with_some(service, officer, second, stored):  # noqa: F811
    await service.simulated(stored, Needs(is_staged=True))
    refused = await officer("POST", f"policies/{stored}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")
    assert (await officer("POST", f"policies/{stored}/activate", {"percent": 10})).status_code == 400
    assert (await officer("POST", f"policies/{stored}/activate", {"percent": 10, "halt_after": 5})).status_code == 202


async def test_a_stage_decides_for_its_organizations_and_halts_at_its_limit(service, officer, second, stored):  # noqa: F811
    await service.load(people="organization,external_id,name,employment\nother,x,X,employee\n")
    await service.simulated(stored)
    unknown = await officer("POST", f"policies/{stored}/activate", {"organizations": ["nobody"], "halt_after": 3})
    assert (unknown.status_code, "'nobody' is not on record" in unknown.json()["detail"]) == (400, True)
    wanted = await activated(officer, organizations=["acme"], halt_after=3)
    assert (await second.approve(wanted)).status_code == 200
    programme = (await officer("GET", "programme")).json()["rollout"]
    assert (programme["policy"], programme["percent"]) == (NEW, 100)
    assert await states(officer) == ["active", "staged"]
    assert await outcome(service) == ("deny", 2)
    other = (await service.ask(question("other/x"))).json()["context"]
    assert other["policy_revision"] == 1
    await settled(service)
    (rollout,) = (await officer("GET", "rollouts")).json()["items"]
    assert (rollout["policy"], rollout["outcome"]) == (NEW, None)
    for _ in range(2):
        assert await outcome(service) == ("deny", 2)
    await settled(service)
    found = (await officer("GET", f"rollouts/{rollout['id']}")).json()
    assert (found["outcome"], found["differing"]) == ("halted", 3)
    assert await outcome(service) == ("allow", 1)
    items = (await officer("GET", f"rollouts/{rollout['id']}/differences")).json()["items"]
    assert [(each["before"], each["after"], each["decisions"]) for each in items] == [("allow", "deny", 3)]
    assert items[0]["facts"]["organization"] == "active"
    types = [entry["body"]["type"] for entry in await service.entries()]
    assert types.count("policy_rollout_started") == types.count("rollout_halted") == 1


async def test_a_percentage_is_of_the_same_people_and_grows_with_them(service, officer, second, stored):  # noqa: F811
    await service.simulated(stored)
    [(person,)] = service.sql("SELECT id FROM people WHERE external_id = 'us'")
    at = share(person)
    for percent, decides in ((max(at, 1), at < max(at, 1)), (at + 1, True)):
        if percent < 100:
            assert (await second.approve(await activated(officer, percent=percent, halt_after=9))).status_code == 200
            assert await outcome(service) == (("deny", 2) if decides else ("allow", 1))
    assert {share(f"per_{number}") for number in range(2000)} == set(range(100))


async def test_an_officer_ends_a_rollout_at_once(service, officer, second, stored):  # noqa: F811
    await service.simulated(stored)
    assert (await second.approve(await activated(officer, organizations=["acme"], halt_after=9))).status_code == 200
    assert await outcome(service) == ("deny", 2)
    (rollout,) = (await officer("GET", "rollouts")).json()["items"]
    assert (await officer("POST", f"rollouts/{rollout['id']}/end")).json()["outcome"] == "ended"
    assert await outcome(service) == ("allow", 1)
    assert (await officer("POST", f"rollouts/{rollout['id']}/end")).status_code == 409
    assert (await officer("POST", "rollouts/rol_none/end")).status_code == 404


# --- later ----------------------------------------------------------------------------------------------------


async def test_a_policy_decides_from_its_time_on(service, officer, second, stored):  # noqa: F811
    await service.simulated(stored)
    past = await officer("POST", f"policies/{stored}/activate", {"starts_at": timestamp(service.now)})
    assert (past.status_code, past.json()["code"]) == (400, "POLICY_CHANGE_WINDOW")
    starts = service.now + timedelta(seconds=2)
    wanted = await activated(officer, starts_at=timestamp(starts))
    assert (await second.approve(wanted)).status_code == 200
    assert await states(officer) == ["active", "scheduled"]
    seen = set()
    while ("deny", 2) not in seen:
        sent = service.now
        answer = await outcome(service)
        seen.add(answer)
        assert answer == ("allow", 1) or service.now >= starts
        assert answer == ("deny", 2) or sent < starts
        await asyncio.sleep(0.01)
    assert ("allow", 1) in seen
    await settled(service)
    in_force = (await officer("GET", "programme")).json()
    assert (in_force["policy_sha256"], in_force["rollout"]) == (NEW, None)
    assert await outcome(service) == ("deny", 2)
    (rollout,) = (await officer("GET", "rollouts")).json()["items"]
    assert rollout["outcome"] == "completed"
    assert await states(officer) == ["superseded", "active"]
    await service.simulated(content_hash(BASELINE))
    back = await officer("POST", f"policies/{content_hash(BASELINE)}/activate")
    assert (await second.approve(back.json()["id"])).status_code == 200
    assert await outcome(service) == ("allow", 1)
    assert await states(officer) == ["active", "rolled_back"]


# --- beside ---------------------------------------------------------------------------------------------------


async def test_a_policy_that_is_watched_answers_nobody_and_is_counted(service, officer, second, stored):  # noqa: F811
    made = await officer("POST", f"policies/{stored}/watch")
    assert made.status_code == 201, made.text
    assert (await officer("POST", f"policies/{stored}/watch")).status_code == 409
    assert await states(officer) == ["active", "shadow"]
    for _ in range(3):
        assert await outcome(service) == ("allow", 1)
    assert (await service.ask(question(country=None))).json()["context"]["outcome"] == "deny"  # by both
    await settled(service)
    found = (await officer("GET", made.headers["location"].removeprefix("/v1/"))).json()
    assert (found["differing"], found["percent"], found["outcome"]) == (3, 0, None)
    await service.simulated(stored)
    assert (await second.approve(await activated(officer))).status_code == 200
    found = (await officer("GET", f"rollouts/{found['id']}")).json()
    assert found["outcome"] == "superseded"
    assert await outcome(service) == ("deny", 2)
    assert (await service.get("/v1/rollouts", Role.OPERATOR)).status_code == 200
    assert (await service.get(f"/v1/rollouts/{found['id']}/differences", Role.OPERATOR)).status_code == 403


async def test_no_answer_by_the_old_policy_is_committed_after_the_other_begins(service, officer, second, stored):  # noqa: F811
    """The entry is held to the instant by the statement that commits it."""
    await service.simulated(stored)
    starts = service.now + timedelta(seconds=3)
    assert (await second.approve(await activated(officer, starts_at=timestamp(starts)))).status_code == 200
    committer, seen = service.gate.pdp._committer, []
    commit = committer.commit

    async def watched(entries, deadline):
        seen.extend(entries)
        return await commit(entries, deadline)

    committer.commit = watched
    try:
        assert await outcome(service) == ("allow", 1)
    finally:
        committer.commit = commit
    assert [entry.until for entry in seen] == [starts]


async def test_a_draft_is_compared_with_the_policy_in_force_during_a_rollout(service, officer, second, stored):  # noqa: F811
    """Whomever the other one decides for already: the answer is of both, the report of what it would replace."""
    await service.simulated(stored)
    plan = {"organizations": ["acme", "other"], "halt_after": 9}
    assert (await second.approve(await activated(officer, **plan))).status_code == 200
    assert await outcome(service) == ("deny", 2)
    everybody = await everybody_at(service.database, [])
    assert everybody.policy_sha256 == everybody.policy.sha256 == content_hash(BASELINE)
