"""Cannot load, evaluate or commit: 503, never an answer. Each test breaks that very step."""

import asyncio

import pytest
from sqlalchemy import text

from mythos_gate.audit.log import Committer
from mythos_gate.decision import facts
from mythos_gate.decision.pdp import Pdp
from mythos_gate.decision.policy import Policy
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.service import Service, question

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def seat(service):
    # The seat is held, so that what follows is one evaluation.
    assert (await service.ask(question())).json()["decision"] is True


def decisions(service):
    return service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'")[0][0]


async def refused(service, kind):
    before = decisions(service)
    answer = await service.ask(question())
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == f"urn:mythos-gate:problem:{kind}"
    assert "decision" not in answer.json()
    assert before == decisions(service)
    return answer


async def test_records_that_cannot_be_read(service):
    service.sql("ALTER TABLE people RENAME TO people_gone")
    await refused(service, "not-decided")
    service.sql("ALTER TABLE people_gone RENAME TO people")
    assert (await service.ask(question())).json()["decision"] is True


async def test_records_that_cannot_be_evaluated(service, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(facts, "derive", broken)
    await refused(service, "not-decided")


async def test_a_policy_that_cannot_decide(service, monkeypatch):
    monkeypatch.setattr(Policy, "decide", lambda *_: 1 / 0)
    await refused(service, "not-decided")


async def test_a_log_that_takes_no_entry(service):
    service.sql("ALTER TABLE log_entries ADD CONSTRAINT full_up CHECK (type <> 'decision') NOT VALID")
    await refused(service, "not-recorded")
    service.sql("ALTER TABLE log_entries DROP CONSTRAINT full_up")
    assert (await service.ask(question())).json()["decision"] is True


async def test_a_month_without_a_partition(service):
    (name,) = service.sql("SELECT tableoid::regclass::text FROM log_entries LIMIT 1")[0]
    service.sql(f"ALTER TABLE log_entries DETACH PARTITION {name}")
    assert (await service.ask(question())).status_code == 503


async def test_a_committer_that_has_stopped(service):
    committer: Committer = service.gate.pdp._committer
    committer._task.cancel()
    await asyncio.sleep(0.01)
    await refused(service, "not-recorded")
    assert (await service.client.get("/health/ready")).status_code == 503


async def test_a_deadline_that_passes_before_the_entry(tmp_path, service):
    async with Service.running(service.database, tmp_path / "second", deadline=0.000_001) as late:
        late.keys = service.keys
        await refused(late, "not-recorded")


async def test_a_deadline_that_passes_after_the_entry(service, monkeypatch):
    """The process was stopped between the commit and the answer."""
    clock = asyncio.get_running_loop().time
    real = Committer.commit

    async def commit_and_sleep(self, entry):
        committed = await real(self, entry)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + 60)
        return committed

    monkeypatch.setattr(Committer, "commit", commit_and_sleep)
    answer = await service.ask(question())
    monkeypatch.undo()
    assert answer.status_code == 503


async def test_no_active_policy(service):
    service.sql("ALTER TABLE programme DISABLE TRIGGER ALL; UPDATE programme SET policy_revision = NULL")
    await refused(service, "not-decided")
    assert (await service.client.get("/health/ready")).status_code == 503


async def test_an_active_policy_that_cannot_be_loaded_is_not_replaced_by_the_old_one(service):
    service.sql("INSERT INTO policy_revisions (sha256, files) VALUES (repeat('0', 64), '{}')")
    service.sql(
        "ALTER TABLE programme DISABLE TRIGGER ALL;"
        "UPDATE programme SET policy_revision = (SELECT max(number) FROM policy_revisions)"
    )
    await refused(service, "not-decided")


async def test_a_stored_policy_that_was_altered_is_refused(service):
    service.sql(
        "UPDATE policy_revisions SET files = jsonb_set(files, '{access.csv}', to_jsonb(replace(files->>'access.csv', 'deny,HOLD', 'deny,DENY')))"
    )
    service.gate.pdp._library._policies.clear()
    await refused(service, "not-decided")


async def test_a_change_that_cannot_be_committed_is_503_and_changes_nothing(service):
    service.sql("ALTER TABLE log_entries ADD CONSTRAINT full_up CHECK (writer <> 'registry') NOT VALID")
    answer = await service.post("/v1/organizations/acme/suspend")
    assert answer.status_code == 503
    assert service.sql("SELECT status FROM organizations WHERE slug = 'acme'") == [("active",)]


async def test_a_change_refused_at_commit_is_503(service):
    """The deferred check speaks at COMMIT: an answer that left before it would have been wrong."""
    service.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE integrity_constraint_violation; END';"
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON organizations DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    assert (await service.post("/v1/organizations/acme/suspend")).status_code == 503
    assert service.sql("SELECT status FROM organizations WHERE slug = 'acme'") == [("active",)]


# --- a change between reading and recording ---------------------------------------------------------------------


@pytest.fixture
def between(monkeypatch):
    """Run something once, after the records were read and before the entry is committed."""

    def arrange(action):
        real = Committer.commit
        done: list[int] = []

        async def commit(self, entry):
            if not done:
                done.append(1)
                await action()
            return await real(self, entry)

        monkeypatch.setattr(Committer, "commit", commit)

    return arrange


@pytest.mark.parametrize("path", ["organizations/acme", "people/acme/us"])
async def test_a_suspension_in_between_is_seen(service, between, path):
    async def suspend():
        assert (await service.post(f"/v1/{path}/suspend")).status_code == 200

    between(suspend)
    before = decisions(service)
    assert (await service.ask(question())).json()["decision"] is False
    assert before + 1 == decisions(service)


async def test_a_key_revoked_in_between_is_401(service, between):
    identifier = service.keys[Role.GATEWAY].split("_")[1]

    async def revoke():
        async with service.gate.registry.change("key_revoked", "test") as change:
            await callers.revoke_key(change, identifier)

    between(revoke)
    assert (await service.ask(question(), Role.GATEWAY)).status_code == 401


async def test_an_unknown_person_registered_in_between_is_known(service, between):
    async def register():
        await service.load(people="organization,external_id,employment\nacme,new,employee\n")

    between(register)
    said = (await service.ask(question("acme/new"))).json()
    assert said["context"]["reason_admin"]["facts"]["subject"] == "person"


async def test_an_unknown_organization_registered_in_between_is_decided_again(service, between, monkeypatch):
    judged = []
    real = Pdp._judge

    async def counted(*arguments):
        judged.append(1)
        return await real(*arguments)

    async def register():
        await service.load(organizations="organization,name,status\nnew,New,active\n")

    monkeypatch.setattr(Pdp, "_judge", counted)
    between(register)
    await service.ask(question("new/somebody"))
    assert len(judged) == 2


async def test_an_unrelated_change_in_between_does_not_matter(service, between):
    async def suspend():
        await service.post("/v1/organizations/other/suspend")

    between(suspend)
    assert (await service.ask(question())).json()["decision"] is True


async def test_records_that_never_stop_changing_end_in_503(service, monkeypatch):
    real = Committer.commit

    async def commit(self, entry):
        async with service.gate.registry.change("touched", "test") as change:
            await change.connection.execute(text("UPDATE organizations SET name = name || '.' WHERE slug = 'acme'"))
        return await real(self, entry)

    monkeypatch.setattr(Committer, "commit", commit)
    assert (await service.ask(question())).status_code == 503
