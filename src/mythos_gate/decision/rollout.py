"""Another policy beside the one in force: for whom it decides, and where the two differ."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from mythos_gate.decision.facts import FAR, Vector
from mythos_gate.decision.fill import Rollout
from mythos_gate.decision.policy import Policy, Told

MOST = 50_000  # answers that wait to be compared


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


class Compared:
    """What was answered while there was another policy, to be compared when there is time."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Choice, Vector, str, datetime]] = deque(maxlen=MOST)

    def note(self, choice: Choice, facts: Vector, told: Told, at: datetime) -> None:
        self._waiting.append((choice, facts, told.outcome, at))

    def take(self, most: int) -> tuple[Sequence[Difference], bool]:
        """The differences among the next so many answers, and whether there are more."""
        found: dict[tuple[str, str, str, tuple[str, ...]], Difference] = {}
        for _ in range(min(most, len(self._waiting))):
            choice, facts, outcome, at = self._waiting.popleft()
            assert choice.other is not None
            other = choice.other.told(facts).outcome
            if other == outcome:
                continue
            before, after = (other, outcome) if choice.decides else (outcome, other)
            key = (choice.rollout, before, after, tuple(facts.values()))
            had = found.get(key)
            count, first = (had.decisions, had.first) if had else (0, at)
            found[key] = Difference(choice.rollout, facts, before, after, count + 1, min(first, at), at)
        return list(found.values()), bool(self._waiting)
