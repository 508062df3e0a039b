"""What traffic a draft would have answered otherwise is what deciding each decision again, one by one, would show."""

import json
import random
import secrets
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import pytest

from mythos_gate import db
from mythos_gate.analysis import traffic
from mythos_gate.analysis.impact import KINDS
from mythos_gate.analysis.replay import completed
from mythos_gate.audit.entry import canonical, timestamp, uuid7
from mythos_gate.db import DbRole
from mythos_gate.decision.policy import Policy
from mythos_gate.terms import FACTS, Outcome
from tests.analysis.test_impact import FILES, without
from tests.audit.test_sequencer import Log
from tests.service import question

pytestmark = pytest.mark.anyio
BASE = Policy(FILES)
DRAFTS = {
    "a row less": without("training-expired"),
    "two rows less that hold": without("screening-stale", "screening-pending"),
    "a row more": Policy(
        FILES | {"access.csv": FILES["access.csv"] + "no-agents,3,switches,deny,DENY,EMERGENCY_STOP,no,subject=agent\n"}
    ),
    "nothing": BASE,
}
ORDINARY = {fact: values[-1] for fact, values in FACTS.items()}


async def replayed(database, policy, since=None, until=None, progress=lambda *_: None):
    return await traffic.replay(lambda: db.connect(database, DbRole.READER), policy, since, until, progress)


@pytest.fixture
async def log(service):
    """Some hundred decisions of a few subjects, as the gate writes them, of an hour."""
    await service.ask(question())
    ((body,),) = service.sql("SELECT body FROM log_entries WHERE type = 'decision'")
    like, log, drawn = json.loads(body), Log(service.database), random.Random(7)
    ((ordinary,),) = service.sql("SELECT id FROM organizations WHERE slug = 'other'")
    for n in range(1, 301):
        at = service.now - timedelta(minutes=drawn.randrange(60))
        facts = like["facts"] | {fact: drawn.choice(FACTS[fact]) for fact in drawn.sample(sorted(FACTS), 2)}
        told = {name: json.loads(value) for name, value in BASE.told(facts).logged.items()}
        kind = "agent" if facts["subject"] == "agent" else "person"
        subject = {"id": f"{kind}_{drawn.randrange(9)}", "person": "per_1", "type": kind}
        if drawn.random() < 0.2:
            subject = {"digest": secrets.token_hex(32), "type": "other"}
        members = like | told | {
            "id": uuid7(at, secrets.token_bytes(10)),
            "at": timestamp(at),
            "n": n,
            "subject": subject,
            "organization": drawn.choice([like["organization"], ordinary, None, 'a","outcome":"deny"']),
            # Texts that look like members are none.
            "data_set": drawn.choice([like["data_set"], '"facts":{', ',"organization":"x","outcome":', "é\\"]),
        }  # fmt: skip
        log.insert(members["id"], at, canonical(members), n=n, kind="decision")
    return log


async def one_by_one(service, policy, since=None, until=None):
    """The same, of each decision by itself."""
    kinds, outcomes = defaultdict(list), defaultdict(list)
    codes: Counter[tuple[str, str]] = Counter()
    for leaf in service.sql("SELECT at, body FROM log_entries WHERE type = 'decision'"):
        at, entry = leaf[0], json.loads(leaf[1])
        if (since and at < since) or (until and at >= until):
            continue
        before = Outcome(entry["outcome"].removesuffix("_break_glass").upper())
        after = policy.decide(completed(policy, entry["facts"]))
        if after.primary != entry["reasons"][0]:
            codes[entry["reasons"][0], after.primary] += 1
        if after.outcome != before:
            who = entry["subject"]
            kinds[entry["organization"], who["type"], who.get("id") or who["digest"], KINDS[after.outcome]].append(at)
            outcomes[before.lower(), after.outcome.lower()].append(at)
    return kinds, outcomes, codes


def seen(times):
    return {"decisions": len(times), "first": timestamp(min(times)), "last": timestamp(max(times))}


def together(kinds, place):
    """By one or more of organization, type, id; of each the kinds."""
    found: defaultdict[str, defaultdict[str, list[datetime]]] = defaultdict(lambda: defaultdict(list))
    for key, times in kinds.items():
        found[key[place]][key[3]] += times
    return {key: {kind: seen(times) for kind, times in of.items()} for key, of in found.items()}


@pytest.mark.parametrize("size", [7, 100, 100_000])
@pytest.mark.parametrize("name", DRAFTS)
async def test_it_is_what_deciding_each_again_would_show(service, log, monkeypatch, name, size):
    monkeypatch.setattr(traffic, "SLICE", size)
    progress = []
    found = await replayed(service.database, DRAFTS[name], progress=lambda *each: progress.append(each))
    kinds, outcomes, codes = await one_by_one(service, DRAFTS[name])
    slugs = dict(service.sql("SELECT id, slug FROM organizations"))
    organizations = {slugs.get(key, key or "unknown"): value for key, value in together(kinds, 0).items()}
    subjects = {(each.pop("type"), each.pop("id")): each for each in found.apart["subjects"]}
    assert found.figures["decisions"] == 301
    assert found.figures["changed"] == sum(map(len, kinds.values()))
    assert found.figures["outcomes"] == [
        {"before": one, "after": other, **seen(times)} for (one, other), times in sorted(outcomes.items())
    ]
    assert {(row["before"], row["after"]): row["decisions"] for row in found.figures["reasons"]} == codes
    assert found.figures["by_organization"] == organizations
    assert subjects == together({(*key[:2], key[1:3], key[3]): value for key, value in kinds.items()}, 2)
    assert found.figures["subjects"] == Counter(kind for kind, _ in subjects)
    assert sum(each["decisions"] for each in found.apart["vectors"]) == found.figures["changed"]
    assert (name == "nothing") == (found.figures["changed"] == 0)
    ((entries,),) = service.sql("SELECT count(*) FROM log_entries")
    assert progress[-1] == (len(progress),) * 2 == (-(-entries // size),) * 2


async def test_only_what_was_decided_in_the_period_counts(service, log):
    times = sorted(at for (at,) in service.sql("SELECT at FROM log_entries WHERE type = 'decision'"))
    since, until, draft = times[50], times[200], DRAFTS["a row more"]
    found = await replayed(service.database, draft, since, until)
    kinds, _, _ = await one_by_one(service, draft, since, until)
    expected = (timestamp(since), timestamp(until), 150, sum(map(len, kinds.values())))
    assert tuple(found.figures[name] for name in ("since", "until", "decisions", "changed")) == expected
    assert expected[-1] > 0
    none = await replayed(service.database, draft, times[-1] + timedelta(hours=1))
    assert (none.figures["decisions"], none.figures["changed"]) == (0, 0)


BAD = {
    "no JSON": b"\x00\xff" * 9,
    "nothing of a decision": b"{}",
    "its members in another order": b'{"request":1,"reasons":["ALLOW"],"outcome":"deny","id":"","facts":{}}',
    "no facts": b'{"facts":{,"id":"","organization":1,"outcome":"deny","prev":1,"reasons":["X"],"request":1}',
    "no reason": b'{"facts":{},"id":"","organization":1,"outcome":"deny","prev":1,"reasons":[],"request":1}',
    "no outcome": b'{"facts":{},"id":"","organization":1,"outcome":7,"prev":1,"reasons":["X"],"request":1}',
    "no text": b'{"facts":{"\xff":1},"id":"","organization":1,"outcome":"deny","prev":1,"reasons":["X"],"request":1}',
}


async def test_what_cannot_be_read_or_decided_hides_nothing(service, log):
    for n, body in enumerate(BAD.values(), start=1):
        log.insert(uuid7(service.now, secrets.token_bytes(10)), service.now, body, n=n, kind="decision", writer="pdp-x")
    ((body,),) = service.sql("SELECT body FROM log_entries WHERE type = 'decision' ORDER BY id LIMIT 1")
    for n, change in enumerate(({"stop": "never"}, {"weather": "fair"}), start=10):
        entry = json.loads(body)
        entry["facts"] |= change
        log.insert(uuid7(service.now, secrets.token_bytes(10)), service.now, canonical(entry), n=n, kind="decision", writer="pdp-x")  # fmt: skip
    found = await replayed(service.database, DRAFTS["a row more"])
    assert found.figures["decisions"] == 301 + len(BAD) + 2
    assert (found.figures["unreadable"], found.figures["undecidable"]) == (len(BAD), 2)
    assert found.figures["changed"] > 0


async def test_whose_entry_cannot_be_read_is_unknown(service, log):
    ((body,),) = service.sql("SELECT body FROM log_entries WHERE type = 'decision' ORDER BY id LIMIT 1")
    entry = json.loads(body) | {"subject": 7, "facts": ORDINARY | {"subject": "agent"}}
    entry |= {"outcome": "allow", "reasons": ["ALLOW"]}
    service.sql("ALTER TABLE log_entries DISABLE TRIGGER append_only")
    service.sql("DELETE FROM log_entries WHERE type = 'decision'")
    log.insert(entry["id"], service.now, canonical(entry), kind="decision")
    found = await replayed(service.database, DRAFTS["a row more"])
    assert found.apart["subjects"] == [{"type": "unknown", "id": "unknown", "newly_denied": found.figures["by_organization"]["unknown"]["newly_denied"]}]  # fmt: skip
