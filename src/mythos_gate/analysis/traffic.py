"""Traffic: what was decided in a period, decided again by another policy, and for whom the answers differ.

The facts are as they were recorded, so they are those of the limits of that day: a draft's thresholds change nothing
here. A draft is judged by who asked, not by who else would have asked.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from typing import Any, TypeVar

import asyncpg
import orjson

from mythos_gate.analysis.impact import KINDS, LISTED
from mythos_gate.analysis.replay import Progress, completed
from mythos_gate.audit import reading
from mythos_gate.audit.entry import timestamp
from mythos_gate.audit.log import FAR, LONG_AGO
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import Invalid
from mythos_gate.terms import Outcome

SLICE = 100_000  # entries that one transaction looks at
LANES = min(8, len(os.sched_getaffinity(0)))  # connections; the work is the database's
VECTORS = 1_000  # in a report, those with the most decisions
FAILURES = ("unreadable", "undecidable")
UNKNOWN = "unknown"  # an organization, or a subject, that was not on record

IN = "FROM log_entries WHERE at >= $1 AND at < $2 AND (id, at) <= ($3, $4) AND (id, at) > ($5, $6)"
NEXT = f"SELECT id, at {IN} ORDER BY id, at OFFSET $7 LIMIT 1"
# A body is canonical: its members are in the order of their names, and no text in it holds a bare quotation mark. So
# members are cut out of it at their names, many times as fast as it could be parsed. What is no such body gives pieces
# that are no JSON, or none. OFFSET keeps the database from looking for a name twice.
CUT = rf"""
SELECT at, facts || substr(rest, outcome, greatest(prev - outcome, 0))
    || substr(rest, reasons, greatest(request - reasons, 0)) AS asked,
  substr(rest, organization + 1, greatest(outcome - organization - 1, 0))
    || substr(rest, subject, greatest(type + 1 - subject, 0)) AS whose
FROM (SELECT at, facts, rest,
    position(',"organization":'::bytea IN rest) AS organization, position(',"outcome":'::bytea IN rest) AS outcome,
    position(',"prev":'::bytea IN rest) AS prev, position(',"reasons":'::bytea IN rest) AS reasons,
    position(',"request":'::bytea IN rest) AS request, position(',"subject":{{'::bytea IN rest) AS subject,
    position('}},"type":"decision"'::bytea IN rest) AS type
  FROM (SELECT at, substr(rest, 1, nullif(id, 0) - 1) AS facts, substr(rest, id) AS rest
    FROM (SELECT at, rest, position(',"id":"'::bytea IN rest) AS id
      FROM (SELECT at, substr(body, nullif(position('"facts":{{'::bytea IN body), 0)) AS rest
        {IN} AND type = 'decision' OFFSET 0) AS a OFFSET 0) AS b OFFSET 0) AS c OFFSET 0) AS d
"""  # noqa: S608  of ours
GROUPS = f"SELECT asked, count(*) AS decisions, min(at) AS first, max(at) AS last FROM ({CUT}) AS e GROUP BY asked"  # noqa: S608  likewise
WHOSE = f"""
SELECT whose, kind, count(*) AS decisions, min(at) AS first, max(at) AS last
FROM ({CUT}) AS e JOIN unnest($7::bytea[], $8::text[]) AS changed (asked, kind) USING (asked) GROUP BY whose, kind
"""  # noqa: S608  likewise

Key = TypeVar("Key")
Connect = Callable[[], Awaitable[asyncpg.Connection]]


@dataclass(slots=True)
class Seen:
    """So many decisions, from the first to the last."""

    decisions: int
    first: datetime
    last: datetime

    def add(self, other: "Seen") -> None:
        self.decisions += other.decisions
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)

    def told(self) -> dict[str, Any]:
        return {"decisions": self.decisions, "first": timestamp(self.first), "last": timestamp(self.last)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all decisions of one vector come to: their answer and code as recorded, and as the draft has them.

    `failure`: why there is nothing to compare.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    before: Outcome = Outcome.DENY
    after: Outcome = Outcome.DENY
    codes: tuple[str, str] = ("", "")
    failure: str | None = None

    @property
    def kind(self) -> str | None:
        """What the draft would have made of the answer, if another one."""
        return None if self.failure or self.before == self.after else KINDS[self.after]


@dataclass(slots=True)
class Traffic:
    """As `impact.Impact`: `figures` for whoever reads the programme, `apart` for compliance."""

    figures: dict[str, Any]
    apart: dict[str, Any]


async def replay(
    connect: Connect, policy: Policy, since: datetime | None, until: datetime | None, progress: Progress
) -> Traffic:
    """What the policy would have said to what was asked in [since, until): the reader's role suffices.

    What is written meanwhile is left out. No transaction lasts longer than a slice takes.
    """
    tally = _Tally(policy)
    connections = [await connect() for _ in range(LANES)]
    try:
        slugs = {row["id"]: row["slug"] for row in await connections[0].fetch("SELECT id, slug FROM organizations")}
        slices = await _slices(connections[0], since or LONG_AGO, until or FAR)
        waiting = iter(slices)
        await asyncio.gather(*(_look(each, waiting, len(slices), tally, progress) for each in connections))
    finally:
        for each in connections:
            await each.close()
    return _report(tally, since, until, slugs)


async def _slices(connection: asyncpg.Connection, since: datetime, until: datetime) -> list[Sequence[Any]]:
    """The period's entries, as arguments of `IN`."""
    if (span := await reading.span(connection, since, until)) is None:
        return []
    slices, after = [], reading.FIRST
    while row := await connection.fetchrow(NEXT, since, until, *span.last, *after, SLICE - 1):
        slices.append((since, until, *row, *after))
        after = (row["id"], row["at"])
    return [*slices, (since, until, *span.last, *after)]


async def _look(
    connection: asyncpg.Connection, waiting: Iterator[Sequence[Any]], total: int, tally: "_Tally", progress: Progress
) -> None:
    """One slice after the other, as long as some wait."""
    for slice_ in waiting:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            kinds = tally.add(await connection.fetch(GROUPS, *slice_))
            if kinds:
                tally.add_whose(await connection.fetch(WHOSE, *slice_, [*kinds], [*kinds.values()]))
        tally.slices += 1
        progress(tally.slices, total)


class _Tally:
    """`whose`: by what the entry says of organization and subject, and by kind of change."""

    def __init__(self, policy: Policy) -> None:
        self.slices = 0
        self.groups: dict[bytes | None, Seen] = {}
        self.whose: dict[tuple[bytes, str], Seen] = {}
        self.verdict = cache(partial(_verdict, policy))

    def add(self, rows: Sequence[asyncpg.Record]) -> dict[bytes, str]:
        """The groups that would have been answered otherwise, with the kind of change."""
        kinds = {}
        for asked, *seen in rows:
            _merge(self.groups, asked, Seen(*seen))
            if (kind := self.verdict(asked).kind) is not None:
                kinds[asked] = kind
        return kinds

    def add_whose(self, rows: Sequence[asyncpg.Record]) -> None:
        for whose, kind, *seen in rows:
            _merge(self.whose, (whose, kind), Seen(*seen))


def _merge(kept: dict[Key, Seen], key: Key, seen: Seen) -> None:
    if (found := kept.get(key)) is None:
        kept[key] = seen
    else:
        found.add(seen)


def _verdict(policy: Policy, asked: bytes | None) -> Verdict:
    try:
        entry = _members(asked)
        outcome, codes, facts = entry["outcome"], entry["reasons"], entry["facts"]
        before, primary = Outcome(outcome.removesuffix("_break_glass").upper()), str(codes[0])
    except (LookupError, TypeError, ValueError, AttributeError):
        # Whoever has the service's login can write anything: one such entry must not hide the others.
        return Verdict(failure="unreadable")
    try:
        decision = policy.decide(completed(policy, facts))
    except Invalid:
        return Verdict(failure="undecidable")
    return Verdict(facts, before, decision.outcome, (primary, decision.primary))


def _members(cut: bytes | None) -> dict[str, Any]:
    return dict(orjson.loads(b"{%b}" % (cut or b"-")))


# --- the report -----------------------------------------------------------------------------------------------

Kinds = dict[str, Seen]  # by kind of change


def _report(tally: _Tally, since: datetime | None, until: datetime | None, slugs: Mapping[str, str]) -> Traffic:
    groups = [(tally.verdict(asked), seen) for asked, seen in tally.groups.items()]
    changed = [(verdict, seen) for verdict, seen in groups if verdict.kind]
    organizations, subjects = _whose(tally, slugs)
    most = sorted(subjects.items(), key=lambda each: (-_decisions(each[1]), each[0]))[:LISTED]
    figures = {
        "since": since and timestamp(since),
        "until": until and timestamp(until),
        "decisions": sum(seen.decisions for _, seen in groups),
        "changed": sum(seen.decisions for _, seen in changed),
        **{why: sum(seen.decisions for verdict, seen in groups if verdict.failure == why) for why in FAILURES},
        "outcomes": _outcomes(changed),
        "reasons": _reasons(groups),
        "by_organization": {slug: _told(kinds) for slug, kinds in sorted(organizations.items())},
        "subjects": dict(sorted(Counter(kind for kind, _ in subjects).items())),
    }
    apart = {
        "subjects": [{"type": kind, "id": identifier, **_told(kinds)} for (kind, identifier), kinds in most],
        "vectors": _vectors(changed),
    }
    return Traffic(figures, apart)


def _outcomes(changed: Sequence[tuple[Verdict, Seen]]) -> list[dict[str, Any]]:
    found: dict[tuple[Outcome, Outcome], Seen] = {}
    for verdict, seen in changed:
        _merge(found, (verdict.before, verdict.after), replace(seen))
    return [
        {"before": one.lower(), "after": other.lower(), **seen.told()} for (one, other), seen in sorted(found.items())
    ]


def _reasons(groups: Sequence[tuple[Verdict, Seen]]) -> list[dict[str, Any]]:
    """Answers with another primary reason, whether the outcome is another or not."""
    found = Counter[tuple[str, str]]()
    for verdict, seen in groups:
        if verdict.codes[0] != verdict.codes[1]:
            found[verdict.codes] += seen.decisions
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    return [{"before": one, "after": other, "decisions": count} for (one, other), count in ordered]


def _whose(tally: _Tally, slugs: Mapping[str, str]) -> tuple[dict[str, Kinds], dict[tuple[str, str], Kinds]]:
    """By organization, and by subject."""
    organizations: dict[str, Kinds] = {}
    subjects: dict[tuple[str, str], Kinds] = {}
    for (whose, kind), seen in tally.whose.items():
        organization, subject = _who(whose)
        _merge(organizations.setdefault(slugs.get(organization, organization), {}), kind, replace(seen))
        _merge(subjects.setdefault(subject, {}), kind, replace(seen))
    return organizations, subjects


def _who(whose: bytes) -> tuple[str, tuple[str, str]]:
    """The organization, and the subject's type and id or, where it was not on record, digest."""
    try:
        entry = _members(whose)
        subject = entry["subject"]
        return str(entry["organization"] or UNKNOWN), (
            str(subject["type"]),
            str(subject.get("id") or subject["digest"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return UNKNOWN, (UNKNOWN, UNKNOWN)


def _vectors(changed: Sequence[tuple[Verdict, Seen]]) -> list[dict[str, Any]]:
    """Those with the most decisions, whichever policy's they were."""
    found: dict[tuple[Any, ...], tuple[Verdict, Seen]] = {}
    for verdict, seen in changed:
        key = (verdict.before, verdict.after, verdict.codes, *sorted(verdict.facts.items()))
        found.setdefault(key, (verdict, Seen(0, seen.first, seen.last)))[1].add(seen)
    most = sorted(found.items(), key=lambda each: (-each[1][1].decisions, each[0]))[:VECTORS]
    return [
        {
            "before": verdict.before.lower(),
            "after": verdict.after.lower(),
            "reasons": verdict.codes,
            "facts": dict(verdict.facts),
            **seen.told(),
        }
        for _, (verdict, seen) in most
    ]


def _told(kinds: Kinds) -> dict[str, Any]:
    return {kind: seen.told() for kind, seen in sorted(kinds.items())}


def _decisions(kinds: Kinds) -> int:
    return sum(seen.decisions for seen in kinds.values())
