"""Retention of the log: old months are dropped by two officers, and what was proven before still holds."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest

from mythos_gate.audit import tlogproof
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.terms import Role
from tests.api.test_log import log_key
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = [pytest.mark.anyio, pytest.mark.verified]
OLD = "at < '2011-01-01'"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


def aged(service):
    """Entries of long ago, as bodies by id."""
    return service.write([datetime(2010, month, 1, 1, tzinfo=UTC) for month in (1, 2, 3)])


async def proof(service, entry):
    answer = await service.get(f"/v1/log/entries/{entry}/proof")
    assert answer.status_code == 200, answer.text
    return tlogproof.Proof.parse(answer.content)


def verified(service, given, body):
    return tlogproof.verify(given, leaf_hash(body), log_key(service), service.gate.settings.origin)


async def test_two_officers_drop_old_months_and_every_proof_stays_valid(service, officer, second):  # noqa: F811
    await service.ask(question())
    old = aged(service)
    await service.sequence()
    first = next(iter(old))
    before = await proof(service, first)
    made = await officer("POST", "log/prune", {"before": "2010-03"})
    assert made.status_code == 202, made.text
    assert {name: made.json()["members"][name] for name in ("before", "entries")} == {"before": "2010-03", "entries": 2}
    own = await officer.approve(made.json()["id"])
    assert own.json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    assert service.sql(f"SELECT count(*) FROM log_entries WHERE {OLD}") == [(3,)]
    done = await second.approve(made.json()["id"])
    assert done.status_code == 200, done.text
    assert service.sql(f"SELECT id::text FROM log_entries WHERE {OLD}") == [(list(old)[2],)]
    assert (await service.ask(question())).json()["decision"] is True
    verified(service, before, old[first])
    await service.sequence()
    for entry, body in old.items():
        again = await proof(service, entry)
        assert verified(service, again, body).size > verified(service, before, old[first]).size
    listed = (await service.get("/v1/log/entries?limit=1000")).json()
    (pruned,) = [each["body"] for each in listed["items"] if each["body"].get("type") == "log_pruned"]
    places = [
        place
        for (place,) in service.sql("SELECT index FROM log_leaves WHERE id = ANY(%s::uuid[]) ORDER BY 1", list(old))
    ]
    assert (pruned["before"], pruned["entries"], pruned["first"], pruned["last"]) == ("2010-03", 2, *places[:2])
    assert {each["index"] for each in listed["items"]} == set(range(listed["size"])) - set(places[:2])


async def refused(officer, before, status, told, code=None):  # noqa: F811
    answer = await officer("POST", "log/prune", {"before": before})
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert told in answer.json()["detail"]


async def test_what_must_be_kept_is_kept(service, officer, second):  # noqa: F811
    aged(service)
    year = service.now.year
    await refused(officer, f"{year - 9}-01", 409, "is kept until", "RETENTION_HOLD")
    await refused(officer, f"{year + 1}-01", 409, "is kept until", "RETENTION_HOLD")
    await refused(officer, "2010-04", 409, "no signed head covers 3 of these entries")
    await refused(officer, "2010-01", 409, "nothing is kept that was written before 2010-01")
    for before in ("2010-13", "2010-1", "now", "2010-01-01"):
        await refused(officer, before, 400, "before")
    await service.sequence()
    waiting = (await officer("POST", "log/prune", {"before": "2010-04"})).json()["id"]
    hold = {"scope": "person", "target": "acme/us", "matter": "M-1"}
    assert (await officer("POST", "legal-holds", hold)).status_code == 201
    held = await second.approve(waiting)
    assert (held.status_code, held.json()["code"]) == (409, "RETENTION_HOLD")
    await refused(officer, "2010-04", 409, "a legal hold stands", "RETENTION_HOLD")
    assert service.sql(f"SELECT count(*) FROM log_entries WHERE {OLD}") == [(3,)]


async def test_a_proposal_holds_for_the_entries_that_it_was_made_for(service, officer, second):  # noqa: F811
    aged(service)
    await service.sequence()
    waiting, first = [
        (await officer("POST", "log/prune", {"before": f"2010-{month}"})).json()["id"] for month in ("04", "02")
    ]
    assert (await second.approve(first)).status_code == 200
    assert (await second.approve(waiting)).status_code == 412


async def test_who_reads_the_log_is_not_cut_off_and_decisions_do_not_wait(service, officer):  # noqa: F811
    aged(service)
    await service.sequence()
    with psycopg.connect(service.database) as reading:
        reading.execute("SELECT count(*) FROM log_entries")
        waiting = asyncio.create_task(refused(officer, "2010-04", 409, "somebody is reading the log"))
        with psycopg.connect(service.database, autocommit=True) as watching:
            while not waiting.done() and watching.execute(WAITING).fetchone() != (1,):
                await asyncio.sleep(0.01)
        assert not waiting.done()
        assert (await service.ask(question())).json()["decision"] is True
        await waiting


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.GATEWAY])
async def test_only_compliance_prunes(service, role):
    answer = await service.post("/v1/log/prune", role, {"before": "2010-03"})
    assert answer.status_code == 403


async def test_even_past_the_service_young_months_are_not_dropped(service):
    for before in (
        "current_date",
        "date_trunc('month', now() - interval '9 years 11 months')::date",
        "date '2010-01-02'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="ten years"):
            service.sql(f"SELECT prune_log({before})")
    may = "SELECT has_function_privilege(%s, 'prune_log(date)', 'EXECUTE')"
    roles = ("service", "reader", "sequencer", "compliance")
    assert [service.sql(may, f"mythos_gate_{role}") for role in roles] == [[(role == "compliance",)] for role in roles]
