"""A decision comes out again as it was recorded, for ever: from its facts and the policy of its day."""

import json
from datetime import timedelta

import orjson
import pytest

from mythos_gate import db
from mythos_gate.analysis import replay
from mythos_gate.analysis.replay import Finding, Past, completed
from mythos_gate.audit import reading
from mythos_gate.audit.entry import canonical, leaf_hash, timestamp
from mythos_gate.audit.log import FAR, LONG_AGO
from mythos_gate.db import DbRole
from mythos_gate.decision import policy
from mythos_gate.decision.policy import FILES, Policy
from mythos_gate.errors import Invalid
from mythos_gate.registry import jurisdictions
from mythos_gate.terms import FACTS, Role
from tests.audit.test_sequencer import Log
from tests.service import POLICIES, PROGRAMME, question

pytestmark = pytest.mark.anyio
BASELINE = {name: (POLICIES / name).read_text() for name in FILES}


async def replayed(service, since=LONG_AGO, until=FAR, progress=lambda _done, _total: None):
    connection = await db.connect(service.database, DbRole.READER)
    try:
        return await replay.replay(connection, since, until, progress)
    finally:
        await connection.close()


async def decided(service, *arguments, **changes):
    answer = await service.ask(question(*arguments, **changes))
    assert answer.status_code == 200, answer.text
    return answer.json()["context"]


def tamper(service, identifier, change):
    """As an administrator does who also mends the hash."""
    ((at, body),) = service.sql("SELECT at, body FROM log_entries WHERE id = %s", identifier)
    entry = json.loads(body)
    change(entry)
    body = canonical(entry)
    service.sql("ALTER TABLE log_entries DISABLE TRIGGER append_only")
    service.sql("UPDATE log_entries SET body = %s, leaf = %s WHERE (id, at) = (%s, %s)", body, leaf_hash(body), identifier, at)  # fmt: skip
    service.sql("ALTER TABLE log_entries ENABLE ALWAYS TRIGGER append_only")


@pytest.fixture
async def told(service):
    """Decisions of every outcome: allowed, denied, an agent by its sponsor, on hold, with a break-glass."""
    now = service.now
    await service.load(
        people="organization,external_id,employment,us_person,us_basis,training_expires,acceptable_use,technology_control_plan,approvals,requested_by,review_due\n"
        "acme,what,employee,unknown,,,no,no,,,\nacme,lapsed,employee,yes,citizen,now-1d,yes,yes,a1;a2,r1,now+90d\n",
        agents="organization,external_id,sponsor,status,scopes,expires,runtime_country,depth\n"
        "acme,stray,what,active,vuln-discovery,now+1d,US,1\n",
        screenings="organization,person,status,screened_at\nacme,ca,pending,now-1h\nacme,lapsed,clear,now-1h\n",
        break_glass="organization,incident,opened_by,approvers,opened,expires\n"
        f"acme,I-1,o1,a1;a2,{timestamp(now - timedelta(hours=1))},{timestamp(now + timedelta(hours=1))}\n",
    )
    return {
        "allow": await decided(service),
        "deny": await decided(service, country="IR"),
        "sponsor": await decided(service, "acme/stray", kind="agent"),
        "hold": await decided(service, "acme/ca", country="DE"),
        "bypassed": await decided(service, "acme/lapsed", break_glass="acme/I-1"),
        "unknown": await decided(service, "acme/nobody"),
    }


async def test_every_decision_comes_out_as_it_was_recorded(service, told):
    seen = {name: (each["outcome"], bool(each["reason_admin"]["cause"]), bool(each["reason_admin"]["bypassed"])) for name, each in told.items()}  # fmt: skip
    assert seen == {
        "allow": ("allow", False, False),
        "deny": ("deny", False, False),
        "sponsor": ("deny", True, False),
        "hold": ("hold", False, False),
        "bypassed": ("allow_break_glass", False, True),
        "unknown": ("deny", False, False),
    }
    progress = []
    assert await replayed(service, progress=lambda *seen: progress.append(seen)) == replay.Replayed(len(told), [])
    assert progress[-1] == (len(await service.entries()),) * 2


@pytest.mark.parametrize("batch", [1, 2, 1000])
async def test_nothing_keeps_the_database_from_cleaning_up_while_all_are_decided_again_once(
    service, told, monkeypatch, batch
):
    """And what is written meanwhile is left out."""
    monkeypatch.setattr(reading, "BATCH", batch)
    others, progress, open_for_long = Log(service.database), [], []

    def look(done, total):
        progress.append((done, total))
        others.add(1)
        open_for_long.extend(
            others.sql(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )

    count = len(await service.entries())
    assert await replayed(service, progress=look) == replay.Replayed(len(told), [])
    assert progress == [(min(count, done), count) for done in range(batch, count + batch, batch)]
    assert open_for_long == []


async def test_what_was_altered_is_found_with_its_members(service, told):
    altered, members = told["sponsor"]["id"], ("outcome", "rows", "reasons", "cause", "bypassed")
    for count, member in enumerate(members, start=1):
        tamper(service, altered, lambda entry, member=member: entry.update({member: ["other"]}))
        expected = f"{', '.join(members[:count])}: not as recorded"
        assert (await replayed(service)).findings == [Finding(altered, expected)]


async def test_facts_that_were_altered_are_found(service, told):
    altered = told["deny"]["id"]
    tamper(service, altered, lambda entry: entry["facts"].update(location="permitted"))
    [finding] = (await replayed(service)).findings
    assert (finding.id, finding.what) == (altered, "rows, reasons: not as recorded")
    tamper(service, altered, lambda entry: entry["facts"].update(location="elsewhere"))
    assert [each.what for each in (await replayed(service)).findings] == [
        "cannot be decided again: location is never 'elsewhere'"
    ]


async def test_a_gate_that_decides_otherwise_than_it_did_is_found(service, told, monkeypatch):
    monkeypatch.setattr(policy, "SPONSOR_TIERS", frozenset())
    assert [each.id for each in (await replayed(service)).findings] == [told["sponsor"]["id"]]
    monkeypatch.undo()
    monkeypatch.setattr(policy, "BROKEN_GLASS", policy.ALLOW)
    assert {each.id: each.what for each in (await replayed(service)).findings} == {
        told["allow"]["id"]: "outcome: not as recorded",
        told["bypassed"]["id"]: "reasons: not as recorded",
    }


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE policy_revisions SET files = files || jsonb_build_object('access.csv', replace(files->>'access.csv', ',41,', ',42,'))",
         "is not the one that its hash names"),
        ("UPDATE policy_revisions SET files = '{}'", "cannot be built"),
        ("UPDATE policy_revisions SET sha256 = repeat('0', 64)", "is not stored under the hash that the entry names"),
    ],
)  # fmt: skip
async def test_a_policy_that_is_not_what_it_was_decides_nothing_again(service, told, statement, what):
    service.sql("ALTER TABLE policy_revisions DISABLE TRIGGER append_only")
    service.sql(statement)
    found = await replayed(service)
    assert (len(told), {f"cannot be decided again: policy revision 1 {what}"}) == (
        len(found.findings),
        {finding.what for finding in found.findings},
    )


async def test_only_the_time_asked_for_is_decided_again(service, told):
    at = [item["body"]["at"] for item in await service.entries() if item["body"]["type"] == "decision"]
    second, last = (service.now.fromisoformat(each) for each in (at[1], at[-1]))
    assert [(await replayed(service, since, until)).decisions for since, until in (
        (second, FAR), (LONG_AGO, second), (second, last), (last + timedelta(microseconds=1), FAR),
    )] == [5, 1, 4, 0]  # fmt: skip


def test_a_vector_is_decided_once(monkeypatch):
    built = Policy(BASELINE)
    past = Past({(1, built.sha256): json.dumps(BASELINE)})
    facts = {fact: values[-1] for fact, values in FACTS.items()}
    told = {name: orjson.loads(value) for name, value in built.told(facts).logged.items()}
    asked = []

    def decided(_past, _revision, facts):
        asked.append(facts)
        return told

    monkeypatch.setattr(Past, "_decided", decided)
    for _ in range(3):
        assert past.differs({**told, "policy": {"revision": 1, "sha256": built.sha256}}) is None
    assert len(asked) == 1


def test_a_fact_that_came_later_does_not_matter_and_one_that_counts_is_missed():
    built, facts = Policy(BASELINE), {fact: values[-1] for fact, values in FACTS.items()}
    later = {fact: value for fact, value in facts.items() if fact != "stop"}
    with pytest.raises(Invalid, match="its facts are not those of its policy: stop"):
        completed(built, later)
    built.rows = tuple(row for row in built.rows if "stop" not in row.cells)
    assert completed(built, later) == facts
    with pytest.raises(Invalid, match="weather"):
        completed(built, facts | {"weather": "fair"})


async def test_an_old_decision_is_explained_under_the_policy_and_the_data_of_its_day(service):
    """A citizen of the UAE on 2026-07-09, the day before its country groups and then the policy changed (case A08)."""
    atlas = (POLICIES / "jurisdictions.csv").read_text()
    left = "AE,ARE,784,United Arab Emirates,country,listed,,A:5 B,"
    assert left in atlas
    before = atlas.replace(left, left.replace("A:5 B", "D:3 D:4"))
    await service.load(
        people="organization,external_id,employment,us_person,citizenships,evidence_expires,training_expires,"
        "acceptable_use,technology_control_plan,approvals,requested_by,review_due\n"
        "acme,ae,employee,no,AE@1991-01-01,now+90d,now+90d,yes,yes,a1;a2,r1,now+90d\n",
        screenings="organization,person,status,screened_at\nacme,ae,clear,now-1h\n",
    )
    await service.load(grants=PROGRAMME["grants"].replace("D:5", "D:4;D:5"))

    async def in_force(text):
        async with service.gate.registry.change("imported", "test") as change:
            await jurisdictions.load_data_set(change, text.encode(), version="x", reviewed_at=service.now)

    await in_force(before)
    gateway = service.authorization(Role.GATEWAY)
    answered = await service.client.post(
        "/access/v1/evaluation", json=question("acme/ae", country="DE"), headers=gateway
    )
    decision = f"/v1/decisions/{answered.json()['context']['id']}"
    then = [(await service.client.get(decision, headers=headers)).json() for headers in (gateway, service.authorization(Role.AUDITOR))]  # fmt: skip
    assert (then[1]["outcome"], then[1]["reasons"]) == ("deny", ["CITIZENSHIP_RESTRICTED"])
    assert then[0]["reason_user"] == answered.json()["context"]["reason_user"]

    await in_force(atlas)
    assert (await decided(service, "acme/ae", country="DE"))["outcome"] == "allow"
    said = then[0]["reason_user"]["message"]
    changed = BASELINE | {
        "messages.csv": BASELINE["messages.csv"].replace(said, "Other words."),
        "access.csv": BASELINE["access.csv"].replace(",CITIZENSHIP_RESTRICTED,", ",CITIZENSHIP_EMBARGOED,"),
    }
    assert changed != BASELINE
    await service.activate(changed)
    await in_force(before)
    today = await decided(service, "acme/ae", country="DE")
    assert (today["reason_admin"]["codes"], today["reason_user"]["message"]) == (["CITIZENSHIP_EMBARGOED"], "Other words.")  # fmt: skip
    assert then == [(await service.client.get(decision, headers=headers)).json() for headers in (gateway, service.authorization(Role.AUDITOR))]  # fmt: skip
    assert await replayed(service) == replay.Replayed(3, [])
