"""The solver's picture of a policy, held against the policy itself."""

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mythos_gate.analysis import consistency
from mythos_gate.analysis.world import Answers, World
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.errors import Misconfigured
from mythos_gate.settings import root
from mythos_gate.terms import FACTS, Outcome
from tests.decision.test_policy import NEARLY_FINE, VECTORS, tables

BASELINE = read_files(root() / "policies")


def outcomes(world, answers, vector):
    at = [world.fact(fact, value) for fact, value in vector.items()]
    return [outcome for outcome in Outcome if world.possible(answers.of[outcome], *at)]


@settings(max_examples=60, deadline=None)
@given(tables(), st.lists(VECTORS | NEARLY_FINE, min_size=1, max_size=8))
def test_it_answers_each_vector_as_any_table_does(access, vectors):
    policy, world = Policy(BASELINE | {"access.csv": access}), World(rules=())
    answers = Answers(world, policy)
    for vector in vectors:
        assert outcomes(world, answers, vector) == [policy.by_table(vector).outcome]


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_near_allows_as_the_baseline_does(seed):
    """Up to five facts away from the ordinary, so that holds and their precedence, agents and break-glasses occur."""
    policy, world, rng = Policy(BASELINE), World(rules=()), random.Random(seed)
    answers, seen = Answers(world, policy), set()
    for _ in range(500):
        changed = {fact: rng.choice(FACTS[fact]) for fact in rng.sample(sorted(FACTS), rng.randint(0, 5))}
        changed |= {"subject": "agent", "agent": "registered"} if rng.random() < 0.4 else {}
        vector = {**consistency.ORDINARY, **changed}
        expected = policy.decide(vector).outcome
        seen.add((expected, vector["subject"] == "agent"))
        assert outcomes(world, answers, vector) == [expected], vector
    assert len(seen) == 6


@given(VECTORS | NEARLY_FINE)
@settings(max_examples=200, deadline=None)
def test_a_vector_is_possible_when_it_keeps_the_rules(vector):
    at = [WORLD.fact(fact, value) for fact, value in vector.items()]
    assert WORLD.possible(*at) == consistency.consistent(vector)


WORLD = World()


def test_the_nearest_vector_is_found_among_all():
    far = WORLD.nearest(WORLD.fact("subject", "agent"), WORLD.fact("presence", "foreign_abroad"))
    assert far is not None
    differing = {fact: value for fact, value in far.items() if value != consistency.ORDINARY[fact]}
    assert differing.keys() == {"subject", "agent", "presence", "nationality"}
    assert WORLD.nearest(WORLD.fact("subject", "person"), WORLD.fact("agent", "registered")) is None


def test_without_the_solver_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(Misconfigured, match=r"pip install 'mythos-gate\[proofs\]'"):
        World()


HELD = "held,{},person,deny,HOLD,SCREENING_STALE,no,screening=stale"
DENIED = "denied,{},person,deny,DENY,PERSON_SUSPENDED,no,person=suspended"
ALLOWED = "allowed,900,allow,allow,ALLOW,ALLOW,-,vendor=covered"


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([HELD.format(51), DENIED.format(50)], Outcome.DENY),
        ([DENIED.format(51), HELD.format(50)], Outcome.HOLD),
        ([HELD.format(50), DENIED.format(50)], Outcome.HOLD),
        ([DENIED.format(50), HELD.format(50)], Outcome.DENY),
        ([HELD.format(50), DENIED.format(40).replace(",person,", ",place,")], Outcome.HOLD),
        ([DENIED.format(50).replace(",person,", ",place,"), HELD.format(60)], Outcome.HOLD),
    ],
)
def test_the_tier_speaks_first_then_the_priority_then_the_order_of_the_table(rows, outcome):
    access = "\n".join([BASELINE["access.csv"].splitlines()[0], *rows, ALLOWED]) + "\n"
    policy, world = Policy(BASELINE | {"access.csv": access}), World()
    vector = {**consistency.ORDINARY, "screening": "stale", "person": "suspended"}
    assert policy.decide(vector).outcome == outcome
    assert outcomes(world, Answers(world, policy), vector) == [outcome]
