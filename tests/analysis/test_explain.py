"""The fewest facts with which an answer would be an allow."""

import itertools
import random

import pytest

from mythos_gate.analysis import consistency, explain
from mythos_gate.analysis.explain import Audience
from mythos_gate.decision import cases, facts
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS
from tests.decision import random_cases

POLICIES = root() / "policies"
POLICY = Policy(read_files(POLICIES))
PERSONAL = {"subject", "integrity", "nationality", "presence", "location"}


def vectors(seed: int, count: int):
    jurisdictions = cases.read_jurisdictions((POLICIES / "jurisdictions.csv").read_text())
    rng, found = random.Random(seed), 0
    while found < count:
        document = cases.document(random_cases.document(rng), {})
        vector = facts.derive(document.records(jurisdictions), document.asked(), document.now).vector
        if not POLICY.decide(vector).allowed:
            found += 1
            yield vector


def within_reach(vector, most: int):
    """Every consistent vector that is an allow, up to `most` facts away and never those of the person itself."""
    free = [fact for fact in FACTS if fact not in PERSONAL]
    for size in range(most + 1):
        for changed in itertools.combinations(free, size):
            for values in itertools.product(*([v for v in FACTS[fact] if v != vector[fact]] for fact in changed)):
                near = {**vector, **dict(zip(changed, values, strict=True))}
                opens = near["break_glass"] == "active" != vector["break_glass"]
                if not opens and consistency.consistent(near) and POLICY.by_table(near).allowed:
                    yield size, near


@pytest.mark.parametrize("seed", range(2))
def test_the_change_makes_an_allow_and_no_smaller_one_does(seed):
    sizes = []
    for vector in vectors(seed, 40):
        change = explain.smallest_change(POLICY, vector)
        after = {**vector, **{step.fact: step.after for step in change.steps}}
        if change.possible:
            assert consistency.consistent(after)
            assert POLICY.decide(after).allowed
            assert not PERSONAL & {step.fact for step in change.steps}
            assert after["break_glass"] != "active" or vector["break_glass"] == "active"
            sizes.append(len(change.steps))
        bound = min(len(change.steps) - 1, 2) if change.possible else 2
        assert [near for _, near in within_reach(vector, bound)] == [], vector
    assert {1, 2} <= set(sizes)


def at(**changed: str) -> facts.Vector:
    return {**consistency.ORDINARY, **changed}


def told(change: explain.Change, audience: Audience) -> list[tuple[str, str]]:
    return [(action.code, action.how_to_fix) for action in change.actions(audience)]


def test_what_is_allowed_needs_no_change():
    assert explain.smallest_change(POLICY, at()) == explain.Change(())


def test_each_audience_is_told_what_is_its_own_to_know():
    change = explain.smallest_change(
        POLICY,
        at(presence="foreign_abroad", nationality="clear", government="nationality", training="expired"),
    )
    assert [(step.fact, step.after) for step in change.steps] == [("government", "covered"), ("training", "current")]
    assert told(change, Audience.SUBJECT) == [("NOT_AUTHORIZED", ""), ("TRAINING_NEEDED", "Complete training.")]
    assert told(change, Audience.ORGANIZATION) == [("not_eligible", ""), ("TRAINING_EXPIRED", "Complete training.")]
    assert told(change, Audience.COMPLIANCE) == [
        ("CITIZENSHIP_RESTRICTED", "Licence / amended grant."),
        ("TRAINING_EXPIRED", "Complete training."),
    ]
    (first, _) = change.actions(Audience.COMPLIANCE)
    assert first.told == (
        "the government's grant excludes the person's country of nationality:"
        " needed is that the government's grant covers the request"
    )
    for audience in (Audience.SUBJECT, Audience.ORGANIZATION):
        assert "nationality" not in " ".join(action.told for action in change.actions(audience))


@pytest.mark.parametrize(
    ("vector", "codes", "fix"),
    [
        (at(presence="foreign_abroad", nationality="embargoed", training="expired"), ["CITIZENSHIP_EMBARGOED"], ""),
        (at(location="embargoed"), ["LOCATION_EMBARGOED"], ""),
        (at(location="restricted"), ["LOCATION_RESTRICTED"], ""),
        (at(**facts.UNKNOWN_SUBJECT), ["SUBJECT_UNKNOWN", "US_PERSON_STATUS_UNVERIFIED"], "Org admin enrols the person."),
        (
            at(presence="foreign_domestic", nationality="evidence_expired"),
            ["NATIONALITY_EVIDENCE_EXPIRED"],
            POLICY.reasons["NATIONALITY_EVIDENCE_EXPIRED"].how_to_fix,
        ),
    ],
)  # fmt: skip
def test_nobody_is_asked_to_be_another_or_elsewhere(vector, codes, fix):
    change = explain.smallest_change(POLICY, vector)
    assert not change.possible
    assert change.steps == ()
    assert [reason.code for reason in change.against] == codes
    assert change.actions(Audience.COMPLIANCE)[0].how_to_fix == fix


def test_a_break_glass_is_never_proposed():
    several = at(training="expired", review="overdue", endpoint="unattested", vendor="seat")
    change = explain.smallest_change(POLICY, several)
    assert {step.fact for step in change.steps} == {"training", "review", "endpoint", "vendor"}
    invalid = explain.smallest_change(POLICY, at(break_glass="invalid"))
    assert [(step.fact, step.after) for step in invalid.steps] == [("break_glass", "none")]


@pytest.mark.parametrize(
    ("fact", "before", "after"), [("directive", "applies", "none"), ("government", "none", "covered")]
)
def test_of_several_changes_the_ordinary_one_is_proposed(fact, before, after):
    """An exemption, or for the other a seat that the active break-glass passes over, would do as well."""
    vector = at(presence="us_abroad", break_glass="active", **{fact: before})
    (step,) = explain.smallest_change(POLICY, vector).steps
    assert (step.fact, step.after) == (fact, after)


def test_an_agents_sponsor_is_mended_by_the_sponsors_own_reasons():
    change = explain.smallest_change(POLICY, at(subject="agent", agent="registered", person="ended"))
    assert [reason.code for step in change.steps for reason in step.reasons] == ["EMPLOYMENT_ENDED"]


def test_what_no_row_speaks_of_is_told_as_such():
    silent = [line for line in read_files(POLICIES)["access.csv"].splitlines() if not line.startswith("vendor-missing")]
    policy = Policy(read_files(POLICIES) | {"access.csv": "\n".join(silent) + "\n"})
    (step,) = explain.smallest_change(policy, at(vendor="none")).steps
    assert (step.after, [reason.code for reason in step.reasons]) == ("covered", ["NO_APPLICABLE_RULE"])
