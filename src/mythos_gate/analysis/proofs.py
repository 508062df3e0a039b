"""Proofs: what a policy must never allow, checked over all vectors that records can give, not over a sample."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mythos_gate.analysis import words
from mythos_gate.analysis.consistency import Cells
from mythos_gate.analysis.world import Answers, World
from mythos_gate.decision.facts import Vector
from mythos_gate.decision.policy import Policy, parse_when
from mythos_gate.errors import Invalid
from mythos_gate.terms import Outcome

FILE = "invariants.csv"
COLUMNS = ("name", "statement", "why")
NEVER = "never allow where "


@dataclass(frozen=True, slots=True)
class Invariant:
    """One line of invariants.csv: no vector is allowed for which every cell holds."""

    name: str
    statement: str
    why: str
    cells: Cells


@dataclass(frozen=True, slots=True)
class Proof:
    """It holds for all vectors, or `counterexample` is one nearest to the ordinary for which it does not."""

    invariant: Invariant
    counterexample: Vector | None = None

    @property
    def holds(self) -> bool:
        return self.counterexample is None

    @property
    def told(self) -> str:
        """In words."""
        said = f"{self.invariant.name} ({self.invariant.statement})"
        if self.counterexample is None:
            return f"{said}: holds for all facts that there can be"
        return f"{said}: is broken: the policy allows when {words.situation(self.counterexample)}"


def read(text: str) -> tuple[Invariant, ...]:
    """Of `invariants.csv`; `Invalid` names the line."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise Invalid(f"{FILE}: line 1: the columns must be {','.join(COLUMNS)}")
    found = [_invariant(row, f"{FILE}: line {line}") for line, row in enumerate(reader, start=2)]
    if len({each.name for each in found}) < len(found):
        raise Invalid(f"{FILE}: a name stands twice")
    return tuple(found)


def _invariant(row: Mapping[str | None, str | None], where: str) -> Invariant:
    name, statement, why = (row.get(column) for column in COLUMNS)
    if not name or not statement or not why or None in row:
        raise Invalid(f"{where}: a name, a statement and a reason are needed")
    if not statement.startswith(NEVER):
        raise Invalid(f"{where}: {name!r}: a statement begins with {NEVER!r}")
    try:
        return Invariant(name, statement, why, parse_when(statement.removeprefix(NEVER)))
    except Invalid as error:
        raise Invalid(f"{where}: {name!r}: {error}") from error


def prove(policy: Policy, invariants: Sequence[Invariant]) -> tuple[Proof, ...]:
    """Each of them, in their order. Some seconds at the most: in a thread, where others wait."""
    world = World()
    allowed = Answers(world, policy).of[Outcome.ALLOW]
    return tuple(Proof(each, world.nearest(allowed, world.cells(each.cells))) for each in invariants)
