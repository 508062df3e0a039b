"""Cannot load, evaluate or commit: 503, never an answer. Each test breaks that very step."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy import make_url, text

from mythos_gate.audit import reading
from mythos_gate.audit.log import Committer
from mythos_gate.decision import facts
from mythos_gate.decision.pdp import Pdp
from mythos_gate.decision.policy import FILES, Policy
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.service import POLICIES, PROGRAMME, Service, question, until

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


async def test_a_pool_that_gives_no_connection(service):
    service.forget()
    await service.gate.pdp._pool.close()
    await refused(service, "not-decided")


async def test_a_database_that_is_away(service, server):
    name = make_url(service.database).database
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
    answers = [
        await service.ask(question()),
        await service.post("/v1/organizations/acme/suspend"),
        await service.get("/v1/log/entries"),
        await service.client.get("/health/ready"),
    ]
    assert {(each.status_code, each.headers["content-type"]) for each in answers} == {(503, "application/problem+json")}
    assert (await service.client.get("/health/live")).status_code == 200


async def test_a_surprise_is_500_that_tells_nothing_of_itself(service, monkeypatch):
    monkeypatch.setattr(reading, "page", lambda *_: 1 / 0)
    headers = service.authorization(Role.AUDITOR) | {"X-Request-ID": "r-1"}
    answer = await service.client.get("/v1/log/entries", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.headers["x-request-id"] == "r-1"
    assert "division" not in answer.text


async def test_records_that_cannot_be_evaluated(service, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(facts, "derive", broken)
    await refused(service, "not-decided")


async def test_a_policy_that_cannot_decide(service, monkeypatch):
    monkeypatch.setattr(Policy, "told", lambda *_: 1 / 0)
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


async def test_a_log_without_a_partition_for_the_next_month_is_not_ready(service):
    assert (await service.client.get("/health/ready")).status_code == 200
    for (partition,) in service.sql(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'log_entries'::regclass"
    )[1:]:
        service.sql(f"DROP TABLE {partition}")
    answer = await service.client.get("/health/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the log has no partition for the next month")


UNREADY = {
    "the records cannot be read": "ALTER TABLE agents RENAME TO agents_gone",
    "the active policy cannot be loaded": "INSERT INTO policy_revisions (sha256, files) VALUES (repeat('0', 64), '{}');"
    "ALTER TABLE programme DISABLE TRIGGER ALL; UPDATE programme SET policy_revision = (SELECT max(number) FROM policy_revisions)",
    "the data set in force is not the one that its hash names": "ALTER TABLE jurisdictions DISABLE TRIGGER ALL;"
    "UPDATE jurisdictions SET groups = '{E:1}' WHERE code = 'DE'",
    "the revision is missing: run `mythos-gate db upgrade`": "ALTER TABLE revision DISABLE TRIGGER ALL; DELETE FROM revision",
}


@pytest.mark.parametrize("told", UNREADY)
async def test_a_gate_that_could_not_decide_or_record_is_not_ready(tmp_path, service, told):
    service.sql(UNREADY[told])
    async with Service.running(service.database, tmp_path / "second") as fresh:
        answer = await fresh.client.get("/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, told)
        fresh.keys = service.keys
        assert (await fresh.ask(question())).status_code == 503


async def test_a_database_that_takes_no_writes_is_not_ready(service):
    name = make_url(service.database).database
    service.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await service.gate.pdp._pool.expire_connections()
    answer = await service.client.get("/health/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the database takes no writes")


async def test_a_pool_without_connections_is_not_ready(service):
    await service.gate.pdp._pool.close()
    assert (await service.client.get("/health/ready")).status_code == 503


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
        assert (await late.post("/v1/explain", json=question())).status_code == 503


async def test_a_deadline_that_passes_after_the_entry(service, monkeypatch):
    """The process was stopped between the commit and the answer."""
    clock = asyncio.get_running_loop().time
    real = Committer.commit

    async def commit_and_sleep(self, *arguments):
        committed = await real(self, *arguments)
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
        "ALTER TABLE policy_revisions DISABLE TRIGGER ALL; UPDATE policy_revisions SET files = jsonb_set(files, '{access.csv}', to_jsonb(replace(files->>'access.csv', 'deny,HOLD', 'deny,DENY')))"
    )
    service.gate.pdp._pip.library._policies.clear()
    await refused(service, "not-decided")


async def test_a_data_set_that_was_altered_is_refused(service):
    service.sql(
        "ALTER TABLE jurisdictions DISABLE TRIGGER ALL; UPDATE jurisdictions SET groups = '{}' WHERE code = 'IR'"
    )
    service.gate.pdp._pip.library._data_sets.clear()
    await refused(service, "not-decided")


async def test_a_record_that_cannot_be_read_is_503_and_its_value_is_not_told(service, caplog):
    service.sql("ALTER TABLE nationality_records DROP CONSTRAINT ck_nationality_records_acquired_finite")
    service.sql(
        "ALTER TABLE nationality_records DISABLE TRIGGER ALL; UPDATE nationality_records SET acquired = 'infinity'"
    )
    answer = await service.ask(question("acme/ca", country="DE"))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:mythos-gate:problem:not-decided")
    assert "a request could not be evaluated" in caplog.text
    assert "infinity" not in caplog.text + answer.text


async def test_a_seat_that_cannot_be_claimed(service):
    service.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$")
    service.sql("CREATE TRIGGER full_up BEFORE INSERT ON seats FOR EACH ROW EXECUTE FUNCTION refuse()")
    before = decisions(service)
    answer = await service.ask(question("acme/ca", country="DE"))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:mythos-gate:problem:not-recorded")
    assert before == decisions(service)


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_a_claim_that_must_wait_ends_with_the_deadline_and_holds_up_nobody_else(tmp_path, service):
    claiming = [f"p{i}" for i in range(20)]
    await service.load(
        people=PROGRAMME["people"].splitlines()[0]
        + "\n"
        + "".join(f"acme,{each},employee,yes,citizen,,,now+90d,yes,yes,a1;a2,r1,now+90d\n" for each in claiming),
        screenings="organization,person,status,screened_at\n"
        + "".join(f"acme,{each},clear,now-1h\n" for each in claiming),
    )
    async with Service.running(service.database, tmp_path / "second", deadline=6) as hurried:
        hurried.keys = service.keys
        with psycopg.connect(service.database) as other:
            other.execute("SELECT FROM seat_counts FOR UPDATE")
            asked = [asyncio.create_task(hurried.ask(question(f"acme/{each}", country="DE"))) for each in claiming]
            await until(lambda: service.sql(WAITING)[0][0] >= 4)
            assert (await hurried.post("/v1/organizations/other/suspend")).status_code == 200
            assert not any(task.done() for task in asked)
            answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {503}


async def test_of_one_persons_many_first_requests_few_claim(service):
    """One for all that wait; whoever had read the records just before it claims once more, for nothing."""
    before = service.sql("SELECT count(*) FROM log_entries WHERE type = 'seat_claimed'")[0][0]
    asks = [service.ask(question("acme/ca", country="DE")) for _ in range(20)]
    assert {answer.json()["decision"] for answer in await asyncio.gather(*asks)} == {True}
    assert 1 <= service.sql("SELECT count(*) FROM log_entries WHERE type = 'seat_claimed'")[0][0] - before <= 4


async def test_a_change_that_the_server_warns_about_is_503(service):
    service.sql(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'may be lost'; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON organizations DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION warn()"
    )
    assert (await service.post("/v1/organizations/acme/suspend")).status_code == 503


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

        async def commit(self, *arguments):
            if not done:
                done.append(1)
                await action()
                done.append(2)
            return await real(self, *arguments)

        monkeypatch.setattr(Committer, "commit", commit)
        arranged.append(done)

    arranged: list[list[int]] = []
    yield arrange
    assert arranged == [[1, 2]]


@pytest.mark.parametrize("path", ["organizations/acme", "people/acme/us"])
async def test_a_suspension_in_between_is_seen(service, between, path):
    async def suspend():
        assert (await service.post(f"/v1/{path}/suspend")).status_code == 200

    between(suspend)
    before = decisions(service)
    assert (await service.ask(question())).json()["decision"] is False
    assert before + 1 == decisions(service)


GRANT = "authority,reference,organization,model,status,not_before,versions,capabilities,purposes\n"


@pytest.mark.parametrize(
    ("kind", "rows", "code"),
    [
        ("stops", "scope,target,incident\neverything,,\n", "EMERGENCY_STOP"),
        ("stops", "scope,target,incident\nauthority,orrery,\n", "EMERGENCY_STOP"),
        ("stops", "scope,target,incident\nmodel,mythos-5,\n", "EMERGENCY_STOP"),
        ("stops", "scope,target,incident\norganization,acme,I-1\n", "INCIDENT_LOCKDOWN"),
        ("stops", "scope,target,incident\nperson,acme/us,I-1\n", "INCIDENT_LOCKDOWN"),
        ("stops", "scope,target,incident\nendpoint,acme/ep-1,I-1\n", "INCIDENT_LOCKDOWN"),
        (
            "directives",
            "authority,reference,model,versions,applies_to,from\nexport-office,D-1,mythos-5,5.1,all,now-1d\n",
            "MODEL_SUSPENDED_BY_DIRECTIVE",
        ),
        ("organizations", "organization,name,status,parent_country\nacme,Acme,active,CN\n", "ORG_PARENT_RESTRICTED"),
        ("ownerships", "organization,owner,percent,blocked\nacme,Sand Bank,60,yes\n", "ORG_OWNERSHIP_BLOCKED"),
        ("people", "organization,external_id,employment,training_expires\nacme,us,employee,now-1d\n", "TRAINING_EXPIRED"),
        ("people", "organization,external_id,employment,approvals\nacme,us,employee,\n", "APPROVAL_INCOMPLETE"),
        ("people", "organization,external_id,employment,us_person,citizenships\nacme,us,employee,no,IR@1990-01-01\n", "CITIZENSHIP_EMBARGOED"),
        ("grants", GRANT + "orrery,V-1,acme,mythos-5,revoked,now-90d,5.1,x,x\n", "AUTHORIZATION_REVOKED"),
        ("endpoints", "organization,external_id,status\nacme,ep-1,retired\n", "ENDPOINT_NOT_REGISTERED"),
        ("screenings", "organization,person,status\nacme,,true_match\n", "ORG_SCREENING_MATCH"),
        ("screenings", "organization,person,status\nacme,us,true_match\n", "SCREENING_MATCH_CONFIRMED"),
    ],
    ids=lambda value: value.split("\n")[1] if "\n" in value else value,
)  # fmt: skip
async def test_a_change_on_record_in_between_is_seen(service, between, kind, rows, code):
    between(partial(service.load, **{kind: rows}))
    said = (await service.ask(question())).json()["context"]["reason_admin"]
    assert said["primary"] == code


async def test_an_agent_changed_in_between_is_seen(service, between):
    between(partial(service.load, agents="organization,external_id,sponsor,expires\nacme,bot,us,now-1d\n"))
    said = (await service.ask(question("acme/bot", kind="agent"))).json()["context"]["reason_admin"]
    assert said["codes"] == ["AGENT_CREDENTIAL_EXPIRED"]


async def test_a_sponsor_suspended_in_between_is_seen(service, between):
    between(partial(service.post, "/v1/people/acme/us/suspend"))
    said = (await service.ask(question("acme/bot", kind="agent"))).json()["context"]["reason_admin"]
    assert said["cause"] == ["PERSON_SUSPENDED"]


async def test_a_policy_activated_in_between_decides(service, between):
    files = {name: (POLICIES / name).read_text() for name in FILES}
    reworded = files["messages.csv"].replace("Access is granted.", "Come in.")
    between(partial(service.activate, files | {"messages.csv": reworded}))
    said = (await service.ask(question())).json()["context"]
    assert (said["policy_revision"], said["reason_user"]["message"]) == (2, "Come in.")


async def test_a_data_set_put_in_force_in_between_counts(service, between):
    between(partial(service.review, service.now - timedelta(days=90)))
    said = (await service.ask(question())).json()["context"]["reason_admin"]
    assert said["primary"] == "REFERENCE_DATA_STALE"


async def test_a_suspension_while_it_is_explained_is_seen(service, monkeypatch):
    judged = []
    real = Pdp._judge

    async def judge_and_suspend(*arguments):
        judged.append(await real(*arguments))
        if len(judged) == 1:
            assert (await service.post("/v1/organizations/acme/suspend")).status_code == 200
        return judged[-1]

    monkeypatch.setattr(Pdp, "_judge", judge_and_suspend)
    assert (await service.post("/v1/explain", json=question())).json()["decision"] is False


async def test_what_expired_while_it_was_explained_is_decided_again(service, monkeypatch):
    """The process had not heard of the database's clock for a while."""
    expires = service.now + timedelta(seconds=0.5)
    await service.load(
        people=f"organization,external_id,employment,training_expires\nacme,us,employee,{expires.isoformat()}\n"
    )
    assert (await service.post("/v1/explain", json=question())).json()["decision"] is True
    known = service.gate.pdp._pip.known
    at, sent, heard = known._clock
    await asyncio.sleep(0.6)
    known._clock = (at, sent, heard + 0.6)
    said = (await service.post("/v1/explain", json=question())).json()
    assert said["context"]["reason_admin"]["primary"] == "TRAINING_EXPIRED"


@pytest.mark.parametrize("role", [None, Role.AUDITOR])
async def test_a_refusal_from_memory_is_checked(service, role):
    """What the process holds of the caller is old: it had no such role, or was revoked, and is not any more."""
    identifier = service.keys[Role.GATEWAY].split("_")[1]
    assert (await service.ask(question(), Role.GATEWAY)).status_code == 200
    pip = service.gate.pdp._pip
    presenter = pip._caches["key"][f"key:{identifier}"]
    stored = presenter.stored
    old = (
        replace(stored, revoked_at=service.now)
        if role is None
        else replace(stored, caller=replace(stored.caller, roles=frozenset([role])))
    )
    pip._caches["key"].put(f"key:{identifier}", replace(presenter, stored=old))
    async with service.gate.registry.change("touched", "test") as change:
        await change.connection.execute(text("UPDATE callers SET name = name || '.' WHERE name = 'test gateway'"))
    assert (await service.ask(question(), Role.GATEWAY)).status_code == 200


async def test_a_key_revoked_in_between_is_401(service, between):
    identifier = service.keys[Role.GATEWAY].split("_")[1]

    async def revoke():
        async with service.gate.registry.change("key_revoked", "test") as change:
            await callers.revoke_key(change, identifier)

    between(revoke)
    assert (await service.ask(question(), Role.GATEWAY)).status_code == 401


@pytest.mark.parametrize("step", ["suspend", "lock"])
async def test_the_key_of_whoever_is_suspended_or_locked_in_between_is_401(service, between, step):
    key = await service.key(Role.COMPLIANCE, person="acme/ca")

    async def end():
        if step == "suspend":
            assert (await service.post("/v1/people/acme/ca/suspend")).status_code == 200
        else:
            await service.load(stops="scope,target,incident\nperson,acme/ca,I-1\n")

    between(end)
    assert (await service.client.post("/access/v1/evaluation", json=question(), headers=key)).status_code == 401


async def test_a_caller_whose_role_ends_in_between_is_403(service, between):
    async def end():
        async with service.gate.registry.change("touched", "test") as change:
            await change.connection.execute(text("UPDATE callers SET roles = '{auditor}' WHERE name = 'test gateway'"))

    between(end)
    assert (await service.ask(question(), Role.GATEWAY)).status_code == 403


@pytest.fixture
def waited(monkeypatch):
    """Until when each entry may wait that is given to the committer."""
    found: list[datetime] = []
    real = Committer.commit

    async def commit(self, *arguments):
        found.extend(entry.until for entry in arguments[0])
        return await real(self, *arguments)

    monkeypatch.setattr(Committer, "commit", commit)
    return found


async def test_an_entry_waits_no_longer_than_its_callers_key_is_good(service, waited):
    expires = service.now.replace(microsecond=0) + timedelta(seconds=3)
    async with service.gate.registry.change("key_created", "test") as change:
        key = await callers.create_key(change, "short-lived", [Role.GATEWAY], service=True, expires_at=expires)
    assert (await service.ask(question(), Authorization=f"Bearer {key.text}")).status_code == 200
    assert waited == [expires]


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

    async def commit(self, *arguments):
        async with service.gate.registry.change("touched", "test") as change:
            await change.connection.execute(text("UPDATE organizations SET name = name || '.' WHERE slug = 'acme'"))
        return await real(self, *arguments)

    monkeypatch.setattr(Committer, "commit", commit)
    assert (await service.ask(question())).status_code == 503
