"""What a history of answers and changes says. Pure: every answer must fit a state that held.

Records are seen as levers. A position of a lever is the set of rows of the decision table that it makes match; an
answer names every row that matched, so it shows where each lever stood.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import TypeAlias

Rows: TypeAlias = frozenset[str]

REFUSED = frozenset({"401", "403"})  # the caller, so that nothing else is told
REVISION = "revision "  # an answer names it whatever it says


@dataclass(frozen=True, slots=True)
class Change:
    """`lever` came to show `rows` at some instant from `sent` to `acknowledged`; each lever moves once at a time."""

    lever: str
    rows: Rows
    sent: float
    acknowledged: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` as told, or the status of a refusal. `written`: within which its entry's snapshot was taken.

    `bare`: only whether it allows was told.
    """

    question: str
    sent: float
    received: float
    allowed: bool
    rows: Rows
    process: int = 0
    written: tuple[float, float] | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A process was stopped, and went on."""

    process: int
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an answer, and the last change that was acknowledged too early for it."""

    what: str
    answer: Answer
    change: Change | None

    def __str__(self) -> str:
        answer, change = self.answer, self.change
        said = f"{'allow' if answer.allowed else 'deny'} {sorted(answer.rows)} for {answer.question}"
        asked = f"sent {answer.sent:.4f}, written {answer.written}, received {answer.received:.4f}"
        after = (
            change
            and f"{change.kind or change.lever} -> {sorted(change.rows)}, {change.sent:.4f} to {change.acknowledged:.4f}"
        )
        return f"{self.what}: {said} by process {answer.process} ({asked}); before it: {after}"


STALE = "contradicts what was acknowledged before it was asked"
UNTRUE = "was not true when its entry was written"
LATE = "an allow that arrives later than the deadline after it became false"


@dataclass(frozen=True, slots=True)
class History:
    """`questions`: the levers that each rests on. `hides`: which rows cannot be seen beside a row.

    `starts`: where the levers stand at the beginning; a lever that is not named shows nothing.
    """

    questions: Mapping[str, Sequence[str]]
    changes: Sequence[Change]
    answers: Sequence[Answer]
    deadline: float
    transport: float
    starts: Mapping[str, Rows] = field(default_factory=dict)
    hides: Mapping[str, Rows] = field(default_factory=dict)
    stops: Sequence[Stop] = ()


class _Lever:
    """The positions of one lever in their order, each possible from when it was sent until the next is acknowledged."""

    def __init__(self, start: Rows, changes: Sequence[Change]) -> None:
        self.changes = sorted(changes, key=lambda change: change.sent)
        for before, after in pairwise(self.changes):
            if after.sent < before.acknowledged:
                raise ValueError(f"{before.lever} was moved twice at once")
        self.rows = [start, *(change.rows for change in self.changes)]
        self._sent = [change.sent for change in self.changes]
        self._acknowledged = [change.acknowledged for change in self.changes]

    def within(self, begin: float, end: float) -> slice:
        """The positions that are possible at some instant of the interval."""
        return slice(bisect_left(self._acknowledged, begin), bisect_right(self._sent, end) + 1)

    def instants(self, begin: float, end: float) -> Iterator[float]:
        for times in (self._sent, self._acknowledged):
            yield from times[bisect_right(times, begin) : bisect_left(times, end)]


class Checker:
    def __init__(self, history: History) -> None:
        self._history = history
        moved: dict[str, list[Change]] = defaultdict(list)
        for change in history.changes:
            moved[change.lever].append(change)
        names = {lever for levers in history.questions.values() for lever in levers}
        self._levers = {name: _Lever(history.starts.get(name, frozenset()), moved[name]) for name in names}
        self._known = {
            question: frozenset[str]().union(*(rows for name in levers for rows in self._levers[name].rows), REFUSED)
            for question, levers in history.questions.items()
        }

    def findings(self) -> list[Finding]:
        """Every answer that no state explains."""
        found, late = [], []
        for answer in self._history.answers:
            if not self._fits(answer, answer.sent, answer.received):
                found.append(self._finding(STALE, answer, answer.sent))
            elif answer.written and not self._fits(answer, *answer.written):
                found.append(self._finding(UNTRUE, answer, answer.written[0]))
            elif answer.allowed and not self._fits(answer, self._oldest(answer), answer.received):
                late.append(self._finding(LATE, answer, self._oldest(answer)))
        return found + list(self._unexcused(late))

    def _oldest(self, answer: Answer) -> float:
        return max(answer.sent, answer.received - self._history.deadline - self._history.transport)

    def _unexcused(self, late: Sequence[Finding]) -> Iterator[Finding]:
        """A process that is stopped between its last look at the clock and the socket is at one answer just then."""
        excused: set[Stop] = set()
        for finding in late:
            stop = self._stop(finding.answer)
            if stop is None or stop in excused:
                yield finding
            else:
                excused.add(stop)

    def _stop(self, answer: Answer) -> Stop | None:
        return next(
            (
                stop
                for stop in self._history.stops
                if stop.process == answer.process and answer.sent < stop.ended and stop.begun < answer.received
            ),
            None,
        )

    def _fits(self, answer: Answer, begin: float, end: float) -> bool:
        """Is there an instant at which the levers can have stood as the answer shows?"""
        levers = [self._levers[name] for name in self._history.questions[answer.question]]
        spans = [lever.rows[lever.within(begin, end)] for lever in levers]
        shown = self._visible(answer.rows & self._known[answer.question])
        if not answer.bare and answer.allowed != _allows(shown):
            return False
        still = frozenset[str]().union(*(span[0] for span in spans if len(span) == 1))
        moving = [lever for lever, span in zip(levers, spans, strict=True) if len(span) > 1]
        instants = {begin, end, *(instant for lever in moving for instant in lever.instants(begin, end))}

        def explains(rows: Rows) -> bool:
            return _allows(rows) == answer.allowed if answer.bare else rows == shown

        return any(
            explains(self._visible(still.union(*positions)))
            for instant in (instants if moving else (begin,))
            for positions in product(*(lever.rows[lever.within(instant, instant)] for lever in moving))
        )

    def _visible(self, rows: Rows) -> Rows:
        if rows & REFUSED:
            return rows & REFUSED
        return rows.difference(*(self._history.hides.get(row, ()) for row in rows))

    def _finding(self, what: str, answer: Answer, begin: float) -> Finding:
        levers = (self._levers[name] for name in self._history.questions[answer.question])
        before = [change for lever in levers for change in lever.changes if change.acknowledged < begin]
        return Finding(what, answer, max(before, key=lambda change: change.acknowledged, default=None))

    def reflections(self) -> list[tuple[Change, float | None]]:
        """Each change with the time from its acknowledgement to the first answer that shows it, None if none does."""
        by_lever: dict[str, list[Answer]] = defaultdict(list)
        telling = (answer for answer in self._history.answers if not answer.bare)
        for answer in sorted(telling, key=lambda answer: answer.received):
            for lever in self._history.questions[answer.question]:
                by_lever[lever].append(answer)
        return [
            (after, self._reflected(by_lever[name], before, after.rows, after))
            for name, lever in self._levers.items()
            for before, after in zip(lever.rows, lever.changes, strict=False)
        ]

    def _reflected(self, answers: Sequence[Answer], before: Rows, after: Rows, change: Change) -> float | None:
        first = bisect_left(answers, change.sent, key=lambda answer: answer.received)
        for answer in answers[first:]:
            shown = self._visible(answer.rows)
            hidden = frozenset[str]().union(*(self._history.hides.get(row, ()) for row in shown))
            told = not (shown & REFUSED - before - after) and not (hidden & (before ^ after))
            if told and after - before <= shown and not shown & (before - after):
                return max(0.0, answer.received - change.acknowledged)
        return None


def _allows(rows: Rows) -> bool:
    """All that is left to see is the revision."""
    return all(row.startswith(REVISION) for row in rows)


def check(history: History) -> list[Finding]:
    return Checker(history).findings()
