"""What a policy must never allow, over all vectors."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from mythos_gate.analysis import consistency, proofs, words
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.errors import Invalid
from mythos_gate.settings import root
from mythos_gate.terms import FACTS

POLICIES = root() / "policies"
BASELINE = read_files(POLICIES)
STANDING = proofs.read((POLICIES / proofs.FILE).read_text())


def without(*rows: str) -> Policy:
    lines = BASELINE["access.csv"].splitlines()
    kept = [line for line in lines if line.split(",")[0] not in rows]
    assert len(kept) == len(lines) - len(rows)
    return Policy(BASELINE | {"access.csv": "\n".join(kept) + "\n"})


def broken(policy: Policy) -> dict[str, proofs.Proof]:
    return {proof.invariant.name: proof for proof in proofs.prove(policy, STANDING) if not proof.holds}


def test_the_baseline_keeps_every_standing_invariant():
    assert len(STANDING) > 20
    assert broken(Policy(BASELINE)) == {}


@pytest.mark.parametrize(
    ("row", "invariants"),
    [
        ("nationality-embargoed", {"embargoed-nationality", "assessed-nationality"}),
        ("location-embargoed", {"embargoed-location"}),
        ("location-unverified", {"verified-location"}),
        ("emergency-stop", {"no-stop"}),
        ("incident-lockdown", {"no-stop"}),
        ("directive", {"no-directive"}),
        ("clock-untrusted", {"sound-integrity"}),
        ("screening-match", {"clear-screening"}),
        ("screening-pending", {"clear-screening"}),
        ("organization-suspended", {"active-organization"}),
        ("person-suspended", {"active-person"}),
        ("break-glass-invalid", {"valid-break-glass"}),
        ("endpoint-unregistered", {"registered-endpoint"}),
        ("session-weak", {"strong-session"}),
        ("us-person-unverified", {"verified-presence"}),
        ("agent-unregistered", {"registered-agent"}),
        ("approval-incomplete", {"complete-approval"}),
    ],
)
def test_a_table_that_lacks_a_row_breaks_what_it_stood_for(row, invariants):
    policy = without(row)
    found = broken(policy)
    assert found.keys() == invariants
    for proof in found.values():
        vector = proof.counterexample
        assert vector is not None
        assert consistency.consistent(vector)
        assert consistency.holds(proof.invariant.cells, vector)
        assert policy.decide(vector).allowed


FORGOTTEN = {"vendor-covers", "vendor-seat", "agents-where-covered"}


def test_an_allow_that_forgets_agents_or_seats_is_found():
    wide = BASELINE["access.csv"] + "wide,902,allow,allow,ALLOW,ALLOW,-,vendor=agents|seat|covered\n"
    rows = [line for line in wide.splitlines() if not line.startswith(("vendor-agents", "vendor-seat"))]
    assert broken(Policy(BASELINE | {"access.csv": "\n".join(rows) + "\n"})).keys() == FORGOTTEN


def test_a_break_glass_that_passes_over_more_is_found():
    bypassable = re.sub(r"(screening-stale,.*),no,", r"\1,yes,", BASELINE["access.csv"])
    (proof,) = broken(Policy(BASELINE | {"access.csv": bypassable})).values()
    assert proof.invariant.name == "clear-screening"
    assert proof.told == (
        "clear-screening (never allow where screening=!clear): is broken: the policy allows when"
        " the person's screening is too old and a break-glass is active; everything else is in order"
    )


def test_the_counterexample_is_as_near_to_the_ordinary_as_any():
    policy = without("nationality-embargoed")
    vector = broken(policy)["embargoed-nationality"].counterexample
    assert vector is not None
    away = words.unusual(vector)
    for facts in itertools.combinations(FACTS, len(away) - 1):
        for values in itertools.product(*(FACTS[fact] for fact in facts)):
            near = {**consistency.ORDINARY, **dict(zip(facts, values, strict=True))}
            if near["nationality"] == "embargoed" and consistency.consistent(near):
                assert not policy.by_table(near).allowed


def test_every_value_of_every_fact_has_words():
    assert {fact: set(values) for fact, values in FACTS.items()} == {
        fact: set(clauses) for fact, clauses in words.CLAUSES.items()
    }
    assert words.situation(consistency.ORDINARY) == "everything is in order"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,why\n", "line 1: the columns must be name,statement,why"),
        ("name,statement,why\na,never allow where stop=none\n", "line 2: a name, a statement and a reason are needed"),
        ("name,statement,why\na,always allow where stop=none,b\n", "line 2: 'a': a statement begins with"),
        ("name,statement,why\na,never allow where stop=off,b\n", "line 2: 'a': stop is never 'off'"),
        (
            "name,statement,why\na,never allow where stop=none,b\na,never allow where stop=none,b\n",
            "a name stands twice",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text, message):
    with pytest.raises(Invalid, match=re.escape(message)):
        proofs.read(text)


def test_every_standing_invariant_can_be_broken():
    """A statement that speaks of nothing that there can be would hold for any policy."""
    anybody = f"a,900,allow,allow,ALLOW,ALLOW,-,vendor={'|'.join(FACTS['vendor'])}"
    head = BASELINE["access.csv"].splitlines()[0]
    never = "d,10,person,deny,DENY,PERSON_SUSPENDED,no,vendor=agents; subject=person"
    wide = Policy(BASELINE | {"access.csv": f"{head}\n{anybody}\n{never}\n"})
    assert broken(wide).keys() == {invariant.name for invariant in STANDING}


def test_proofs_in_several_threads_do_not_disturb_each_other():
    policies = [without("session-weak"), Policy(BASELINE), without("directive"), without("location-embargoed")] * 3
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(broken, policies))
    assert found == [broken(policy) for policy in policies]
    assert [set(each) for each in found[:4]] == [{"strong-session"}, set(), {"no-directive"}, {"embargoed-location"}]
