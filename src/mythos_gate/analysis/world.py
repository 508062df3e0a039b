"""All vectors at once, for the solver Z3: what facts can be together, and what a policy answers to each.

Z3 is an extra and is loaded when it is first needed, never by a process that serves.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mythos_gate.analysis.consistency import ORDINARY, RULES, Cells, Rule
from mythos_gate.decision.facts import Vector
from mythos_gate.decision.policy import SPONSOR_PRIORITY, SPONSOR_TIERS, Policy, Row
from mythos_gate.errors import Misconfigured
from mythos_gate.terms import FACTS, Outcome, Tier

Formula: TypeAlias = Any  # of Z3, which is untyped


def _z3() -> Any:
    try:
        return importlib.import_module("z3")
    except ImportError as error:
        raise Misconfigured("proofs need z3-solver where the gate runs: pip install 'mythos-gate[proofs]'") from error


class World:
    """The vectors that keep `consistency.RULES`: one variable for each value of each fact, one of which is true.

    A context of its own lets each thread have one; formulas of two worlds do not mix.
    """

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._z3 = _z3()
        self._context = self._z3.Context()
        self._is = {
            (fact, value): self._z3.Bool(f"{fact}={value}", self._context)
            for fact, values in FACTS.items()
            for value in values
        }
        self._solver = self._z3.Solver(ctx=self._context)
        for fact, values in FACTS.items():
            self._solver.add(self._z3.PbEq([(self._is[fact, value], 1) for value in values], 1))
        for rule in rules:
            self._solver.add(self._z3.Implies(self.cells(rule.when), self.cells(rule.then)))

    def cells(self, cells: Cells) -> Formula:
        return self.every(
            self.some(self._is[fact, value] for value in sorted(values)) for fact, values in cells.items()
        )

    def fact(self, fact: str, value: str) -> Formula:
        return self._is[fact, value]

    def every(self, formulas: Iterable[Formula]) -> Formula:
        return self._z3.And([self._z3.BoolVal(val=True, ctx=self._context), *formulas])

    def some(self, formulas: Iterable[Formula]) -> Formula:
        return self._z3.Or([self._z3.BoolVal(val=False, ctx=self._context), *formulas])

    def no(self, formula: Formula) -> Formula:
        return self._z3.Not(formula)

    def either(self, condition: Formula, then: Formula, otherwise: Formula) -> Formula:
        return self._z3.If(condition, then, otherwise)

    @property
    def false(self) -> Formula:
        return self._z3.BoolVal(val=False, ctx=self._context)

    def possible(self, *formulas: Formula) -> bool:
        """Whether there is a vector for which all hold."""
        return self._sat(self._solver.check(*formulas))

    def nearest(self, *formulas: Formula, to: Vector = ORDINARY) -> Vector | None:
        """A vector for which all hold, with the fewest facts that are not as in `to`; none if there is no vector.

        Of several, one with the fewest facts that are not ordinary.
        """
        if not self.possible(*formulas):
            return None
        optimize = self._z3.Optimize(ctx=self._context)
        optimize.add(*self._solver.assertions(), *formulas)
        for fact, value in to.items():
            optimize.add_soft(self._is[fact, value], len(FACTS) + 1)
            optimize.add_soft(self._is[fact, ORDINARY[fact]], 1)
        assert self._sat(optimize.check())
        model = optimize.model()
        return {
            fact: next(value for value in values if self._z3.is_true(model.eval(self._is[fact, value])))
            for fact, values in FACTS.items()
        }

    def _sat(self, answer: Any) -> bool:
        # Of Booleans alone it always knows.
        assert answer != self._z3.unknown
        return bool(answer == self._z3.sat)


class Answers:
    """What a policy answers, as one formula for each outcome; the codes are not told."""

    def __init__(self, world: World, policy: Policy) -> None:
        self._world = world
        self._matches = {row.row: world.cells(row.cells) for row in policy.rows}
        self._bypass = world.fact("break_glass", "active")
        denies = [row for row in policy.rows if row.effect == "deny"]
        allows = [row for row in policy.rows if row.effect == "allow"]
        denied = world.some(map(self.counts, denies))
        allowed = world.every([world.some(map(self.counts, allows)), world.no(denied)])
        held = world.either(
            world.fact("subject", "agent"), self._held(denies, by_agent=True), self._held(denies, by_agent=False)
        )
        self.of: Mapping[Outcome, Formula] = {
            Outcome.ALLOW: allowed,
            Outcome.HOLD: held,
            Outcome.DENY: world.every([world.no(allowed), world.no(held)]),
        }

    def matches(self, row: Row) -> Formula:
        return self._matches[row.row]

    def counts(self, row: Row) -> Formula:
        """The row matches, and no break-glass passes over it."""
        matches = self._matches[row.row]
        return self._world.every([matches, self._world.no(self._bypass)]) if row.bypassable else matches

    def _held(self, denies: Sequence[Row], *, by_agent: bool) -> Formula:
        """Whether the row that speaks first holds: the first tier, then the priority, then the table's order."""
        ranked = sorted(denies, key=lambda row: _rank(row, by_agent=by_agent))
        held = self._world.false
        for row in reversed(ranked):
            holds = row.disposition == Outcome.HOLD and not (by_agent and row.tier in SPONSOR_TIERS)
            held = self._world.either(self.counts(row), self._world.every([]) if holds else self._world.false, held)
        return held


TIERS = {tier: place for place, tier in enumerate(Tier)}


def _rank(row: Row, *, by_agent: bool) -> tuple[int, int, bool]:
    """Where a deny speaks. An agent's sponsor's count as one that denies, after its equals in the table."""
    if by_agent and row.tier in SPONSOR_TIERS:
        return TIERS[Tier.AGENT], SPONSOR_PRIORITY, True
    return TIERS[row.tier], row.priority, False
