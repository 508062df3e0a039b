"""Another policy beside the one in force: for whom it decides, and where the two differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import itemgetter

from mythos_gate.decision.facts import FAR, Vector
from mythos_gate.decision.fill import Rollout
from mythos_gate.decision.policy import Policy, Told
from mythos_gate.terms import FACTS

VALUES = itemgetter(*FACTS)
MOST = 50_000  # kinds of answers that wait to be compared


@dataclass(frozen=True, slots=True)
class Choice:
    """By which policy a request is decided until when; `other` is the one that it is compared with, if there is any."""

    policy: Policy
    revision: int
    other: Policy | None = None
    rollout: str = ""
    decides: bool = False  # the rollout's policy does
    until: datetime = FAR

    @property
    def in_force(self) -> Policy:
        return self.other if self.decides and self.other is not None else self.policy


@dataclass(frozen=True, slots=True)
class Beside:
    """A rollout with its policy, and the choices that there are."""

    rollout: Rollout
    waits: Choice
    old: Choice
    new: Choice

    @classmethod
    def of(cls, rollout: Rollout, new: Policy, old: Policy, number: int) -> "Beside":
        usual = Choice(old, number, new, rollout.id)
        return cls(
            rollout,
            Choice(old, number, new, rollout.id, until=rollout.starts_at),
            usual,
            Choice(new, rollout.policy_revision, old, rollout.id, decides=True),
        )

    def choice(self, organization: str | None, person: str | None, now: datetime) -> Choice:
        """Of an agent its sponsor counts. Whoever is not on record stays with the policy in force."""
        rollout = self.rollout
        if now < rollout.starts_at:
            return self.waits
        if rollout.organizations is not None and organization not in rollout.organizations:
            return self.old
        if rollout.percent == 100:
            return self.new
        return self.new if person is not None and share(person) < rollout.percent else self.old


def share(person: str) -> int:
    """Where somebody stands among a hundred: always the same, so that a growing rollout keeps whom it has."""
    return int.from_bytes(sha256(person.encode()).digest()[:4]) % 100


@dataclass(frozen=True, slots=True)
class Difference:
    """Answers to the same facts: as the policy in force has them, and as the other one."""

    rollout: str
    facts: Vector
    before: str
    after: str
    decisions: int
    first: datetime
    last: datetime


@dataclass(slots=True)
class _Answered:
    """Alike answers to the same facts by one choice, since they were last compared."""

    choice: Choice
    facts: Vector
    decisions: int
    first: datetime
    last: datetime


class Compared:
    """What was answered while there was another policy, to be compared when there is time: alike answers at once."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str, tuple[str, ...]], _Answered] = {}

    def note(self, choice: Choice, facts: Vector, told: Told, at: datetime) -> None:
        key = (id(choice), told.outcome, VALUES(facts))
        if (found := self._waiting.get(key)) is not None:
            found.decisions += 1
            found.first, found.last = min(found.first, at), max(found.last, at)
        elif len(self._waiting) < MOST:
            self._waiting[key] = _Answered(choice, facts, 1, at, at)

    def take(self, most: int) -> tuple[Sequence[Difference], bool]:
        """The differences among the next so many kinds of answers, and whether there are more."""
        found = []
        for _ in range(min(most, len(self._waiting))):
            key = next(iter(self._waiting))
            each = self._waiting.pop(key)
            assert each.choice.other is not None
            outcome, other = key[1], each.choice.other.told(each.facts).outcome
            if other != outcome:
                before, after = (other, outcome) if each.choice.decides else (outcome, other)
                told = (before, after, each.decisions, each.first, each.last)
                found.append(Difference(each.choice.rollout, each.facts, *told))
        return found, bool(self._waiting)
