"""What facts say of each other, held against the derivation on random records."""

import random
from collections import Counter

import pytest

from mythos_gate.analysis import consistency
from mythos_gate.decision import cases, facts
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS
from tests.decision import random_cases

POLICIES = root() / "policies"
DOCUMENTS = 1500


def derived(seed: int):
    jurisdictions = cases.read_jurisdictions((POLICIES / "jurisdictions.csv").read_text())
    rng = random.Random(seed)
    for number in range(DOCUMENTS):
        document = cases.document(random_cases.document(rng, exotic=number % 3 == 0), {})
        records = document.records(jurisdictions)
        if rng.random() < 0.1:  # a data set may lack any row
            del (atlas := dict(jurisdictions))[rng.choice(["US", "PR", "CA"])]
            records.jurisdictions = facts.Jurisdictions(atlas)
        yield facts.derive(records, document.asked(), document.now).vector


@pytest.mark.parametrize("seed", range(4))
def test_every_vector_of_random_records_keeps_every_rule(seed):
    for vector in derived(seed):
        broken = [rule.why for rule in consistency.RULES if not rule.keeps(vector)]
        assert broken == [], vector


def test_random_records_reach_what_the_rules_speak_of():
    reached: Counter[int] = Counter()
    for vector in derived(9):
        reached.update(n for n, rule in enumerate(consistency.RULES) if consistency.holds(rule.when, vector))
    assert [rule.why for n, rule in enumerate(consistency.RULES) if not reached[n]] == [NOWHERE, NOWHERE]


NOWHERE = next(rule.why for rule in consistency.RULES if "without a row" in rule.why)


def test_an_agent_at_home_whose_runtime_is_not_permitted_is_nowhere():
    """What random records do not reach: a territory with a row, and none of the country that it belongs to."""
    atlas = cases.read_jurisdictions((POLICIES / "jurisdictions.csv").read_text())
    atlas = facts.Jurisdictions({code: row for code, row in atlas.items() if code != "US"})
    rng = random.Random(2)
    found: list[facts.Vector] = []
    while len(found) < 20:
        raw = random_cases.document(rng)
        if raw["agent"] and raw["location"]:
            raw["location"] |= {"country": "PR", "region": None}
            raw["agent"]["runtime_country"] = "US"
            document = cases.document(raw, {})
            vector = facts.derive(document.records(atlas), document.asked(), document.now).vector
            found += [vector] if vector["vendor"] == "agent_runtime" else []
    assert [vector for vector in found if not consistency.consistent(vector)] == []
    assert {"us_domestic", "foreign_domestic"} >= {vector["presence"] for vector in found} - {"unverified"} != set()


def test_every_rule_leaves_something_out():
    """A rule that keeps every vector says nothing."""
    for rule in consistency.RULES:
        fact, values = next((fact, values) for fact, values in rule.then.items() if fact not in rule.when)
        against = {name: min(allowed) for name, allowed in rule.when.items()}
        against[fact] = min(set(FACTS[fact]) - values)
        assert not rule.keeps({**consistency.ORDINARY, **against})


def test_the_ordinary_vector_is_consistent_and_allowed():
    assert consistency.consistent(consistency.ORDINARY)
    assert Policy(read_files(POLICIES)).decide(consistency.ORDINARY).codes == ("ALLOW",)


def test_a_country_that_one_grant_excludes_may_be_undecided_under_anothers_basis():
    """Why the rule about defects asks for both grants."""
    rng = random.Random(3)
    raw = random_cases.document(rng)
    while raw["person"] is None or raw["person"]["us_person"] != "NO" or len(raw["grants"]) != 2 or raw["agent"]:
        raw = random_cases.document(rng)
    raw["person"] |= {
        "citizenships": [{"c": "CN", "acquired": "1995-01-01"}, {"c": "SU", "acquired": "1980-01-01", "ended": "1991-12-26"}],
        "residencies": [],
        "employment": "EMPLOYEE",
    }  # fmt: skip
    vendor, government = (random_cases._Draft(rng, exotic=False), random_cases._Draft(rng, exotic=False))
    for draft in (vendor, government):
        draft.now = cases.document(raw, {}).now
    raw["grants"] = [vendor.grant("VG-17", "VENDOR", ["*"]), government.grant("USG-A-044", "USG", ["*"])]
    raw["grants"][1]["nationality_basis"] = "ITAR_ALL_EVER"
    raw["model"]["version"] = "5.1.0"
    raw["request"] = {"action": "invoke", "capability": random_cases.CAPABILITY, "purpose": random_cases.PURPOSE}
    document = cases.document(raw, {})
    jurisdictions = cases.read_jurisdictions((POLICIES / "jurisdictions.csv").read_text())
    vector = facts.derive(document.records(jurisdictions), document.asked(), document.now).vector
    assert (vector["vendor"], vector["nationality"]) == ("nationality", "historical")
    assert vector["government"] not in {"nationality", "none"}
    assert consistency.consistent(vector)
