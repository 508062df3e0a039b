"""What tells two policies apart: their rows, and over all vectors their answers."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import permutations

from mythos_gate.analysis import words
from mythos_gate.analysis.world import Answers, World
from mythos_gate.decision.facts import Thresholds, Vector
from mythos_gate.decision.policy import Policy, Row
from mythos_gate.terms import Outcome

# From the strictest: a review can lift a hold.
STRICTNESS = (Outcome.DENY, Outcome.HOLD, Outcome.ALLOW)
# Who gains and who loses comes first.
KINDS = sorted(permutations(STRICTNESS, 2), key=lambda kind: (kind[1] != Outcome.ALLOW, kind[0] != Outcome.ALLOW))
SAID = {Outcome.DENY: "denied", Outcome.HOLD: "held", Outcome.ALLOW: "allowed"}


class Verdict(StrEnum):
    EQUAL = "equal"
    STRICTER = "stricter"
    LOOSER = "looser"
    INCOMPARABLE = "incomparable"


@dataclass(frozen=True, slots=True)
class Example:
    """A vector nearest to the ordinary that is answered otherwise."""

    before: Outcome
    after: Outcome
    vector: Vector

    @property
    def told(self) -> str:
        """In words."""
        return f"{SAID[self.before]} before, {SAID[self.after]} after: {words.situation(self.vector)}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the second to the first, by what facts lead to; how limits differ, which facts rest on, is `limits`."""

    verdict: Verdict
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One row: without `before` it is new, without `after` it is gone."""

    before: Row | None
    after: Row | None


def compare(first: Policy, second: Policy) -> Comparison:
    """One example for each pair of outcomes that any vector has; codes and messages are not compared."""
    world = World()
    before, after = Answers(world, first), Answers(world, second)
    examples = []
    for was, becomes in KINDS:
        vector = world.nearest(before.of[was], after.of[becomes])
        if vector is not None:
            examples.append(Example(was, becomes, vector))
    found = tuple(examples)
    return Comparison(_verdict(found), found)


def _verdict(examples: tuple[Example, ...]) -> Verdict:
    """By what is allowed; by holds only where that is the same: a row that goes shows the denials behind it."""
    of_access = [each for each in examples if Outcome.ALLOW in {each.before, each.after}]
    counting = of_access or examples
    opened = {STRICTNESS.index(each.after) > STRICTNESS.index(each.before) for each in counting}
    if len(opened) > 1:
        return Verdict.INCOMPARABLE
    return {None: Verdict.EQUAL, True: Verdict.LOOSER, False: Verdict.STRICTER}[next(iter(opened), None)]


def limits(before: Thresholds, after: Thresholds) -> Iterator[str]:
    """Thresholds that differ."""
    for each in fields(Thresholds):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old != new:
            yield f"{each.name}: {old} before, {new} after"


def rows(first: Policy, second: Policy) -> tuple[Changed, ...]:
    """Rows that are gone or other, in the first table's order, then new ones in the second's."""
    before, after = ({row.row: row for row in policy.rows} for policy in (first, second))
    changed = (Changed(row, after.get(name)) for name, row in before.items() if row != after.get(name))
    return (*changed, *(Changed(None, row) for name, row in after.items() if name not in before))
