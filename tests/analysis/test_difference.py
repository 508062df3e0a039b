"""What tells two policies apart."""

import random

import pytest
from hypothesis import given, settings

from mythos_gate.analysis import consistency, difference, words
from mythos_gate.analysis.difference import Verdict
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS, Outcome
from tests.decision.test_policy import tables

BASELINE = read_files(root() / "policies")
FIRST = Policy(BASELINE)
TABLE = BASELINE["access.csv"]
WITHOUT_TRAINING = TABLE.replace(
    "training-expired,70,obligations,deny,DENY,TRAINING_EXPIRED,yes,training=expired\n", ""
)
ABROAD = "abroad,64,place,deny,DENY,LOCATION_NOT_COVERED,no,presence=us_abroad\n"
HELD = TABLE.replace("deny,DENY,MFA_INSUFFICIENT", "deny,HOLD,MFA_INSUFFICIENT")


def changed(table: str) -> Policy:
    return Policy(BASELINE | {"access.csv": table})


@pytest.mark.parametrize(
    ("table", "verdict", "told"),
    [
        (TABLE, Verdict.EQUAL, []),
        (TABLE.replace(",70,obligations", ",71,obligations"), Verdict.EQUAL, []),
        (WITHOUT_TRAINING, Verdict.LOOSER, ["denied before, allowed after: the person's training has expired; everything else is in order"]),
        (TABLE + ABROAD, Verdict.STRICTER, ["allowed before, denied after: a US person is abroad; everything else is in order"]),
        (HELD, Verdict.LOOSER, ["denied before, held after: the session lacks phishing-resistant sign-in; everything else is in order"]),
        (
            WITHOUT_TRAINING + ABROAD,
            Verdict.INCOMPARABLE,
            [
                "denied before, allowed after: the person's training has expired; everything else is in order",
                "allowed before, denied after: a US person is abroad; everything else is in order",
            ],
        ),
    ],
)  # fmt: skip
def test_a_policy_is_stricter_looser_equal_or_neither(table, verdict, told):
    found = difference.compare(FIRST, changed(table))
    assert (found.verdict, [example.told for example in found.examples]) == (verdict, told)


def test_a_hold_that_goes_is_looser_though_it_shows_the_denials_behind_it():
    pending = "screening-pending,50,person,deny,HOLD,SCREENING_HIT_PENDING,no,screening=pending\n"
    found = difference.compare(FIRST, changed(TABLE.replace(pending, "")))
    assert found.verdict == Verdict.LOOSER
    assert [(example.before, example.after) for example in found.examples] == [
        (Outcome.DENY, Outcome.ALLOW),  # of an agent, whose sponsor's hold is a deny
        (Outcome.HOLD, Outcome.ALLOW),
        (Outcome.HOLD, Outcome.DENY),
    ]


def test_the_other_way_round_it_is_the_other():
    found = difference.compare(changed(HELD), FIRST)
    assert found.verdict == Verdict.STRICTER
    assert [(example.before, example.after) for example in found.examples] == [(Outcome.HOLD, Outcome.DENY)]


@settings(max_examples=15, deadline=None)
@given(tables(), tables())
def test_examples_are_answered_as_told_and_no_kind_is_missed(one, other):
    first, second = changed(one), changed(other)
    found = difference.compare(first, second)
    for example in found.examples:
        assert consistency.consistent(example.vector)
        assert first.by_table(example.vector).outcome == example.before
        assert second.by_table(example.vector).outcome == example.after
    kinds = {(example.before, example.after): len(words.unusual(example.vector)) for example in found.examples}
    rng = random.Random(len(one))
    for _ in range(300):
        facts = {fact: rng.choice(FACTS[fact]) for fact in rng.sample(sorted(FACTS), rng.randint(0, 4))}
        vector = {**consistency.ORDINARY, **facts}
        answers = first.by_table(vector).outcome, second.by_table(vector).outcome
        if answers[0] != answers[1] and consistency.consistent(vector):
            assert kinds[answers] <= len(words.unusual(vector))


def test_rows_and_limits_that_differ_are_told():
    second = Policy(
        BASELINE
        | {
            "access.csv": HELD.replace("training-expired,", "training-lapsed,"),
            "thresholds.csv": BASELINE["thresholds.csv"].replace("approvers,2", "approvers,3"),
        }
    )
    told = [(row.before and row.before.row, row.after and row.after.row) for row in difference.rows(FIRST, second)]
    assert told == [("session-weak", "session-weak"), ("training-expired", None), (None, "training-lapsed")]
    assert list(difference.limits(FIRST.thresholds, second.thresholds)) == ["approvers: 2 before, 3 after"]
