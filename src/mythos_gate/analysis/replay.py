"""Replay: logged decisions decided again, from the facts and the policy revision that their entries hold."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

import asyncpg
import orjson

from mythos_gate.audit import reading
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import Invalid
from mythos_gate.terms import FACTS

REVISIONS = "SELECT number, sha256, files FROM policy_revisions"
TOLD = ("outcome", "rows", "reasons", "cause", "bypassed")  # what follows from facts and policy alone
Recorded: TypeAlias = Mapping[str, Any]  # the members of an entry
Progress: TypeAlias = Callable[[int, int], None]  # entries looked at, of how many


@dataclass(frozen=True, slots=True)
class Finding:
    """A decision that does not come out as it was recorded. `what`: the members that differ, or why it cannot be."""

    id: str
    what: str


@dataclass(slots=True)
class Replayed:
    """How many decisions were decided again, and those of them that are not as they were."""

    decisions: int = 0
    findings: list[Finding] = field(default_factory=list)


async def replay(connection: asyncpg.Connection, since: datetime, until: datetime, progress: Progress) -> Replayed:
    """Decide again what was decided in [since, until): the reader's role suffices, and no record is looked at.

    What is written meanwhile is left out. No transaction lasts as long as the whole.
    """
    replayed, done = Replayed(), 0
    span = await reading.span(connection, since, until)
    if span is None:
        return replayed
    # Read after the span: they hold whatever its decisions rest on.
    past = Past({(row["number"], row["sha256"]): row["files"] for row in await connection.fetch(REVISIONS)})
    total = await reading.count(connection, span)
    async for bodies in reading.stream(connection, "decision", span):
        for body in filter(None, bodies):
            replayed.decisions += 1
            if found := _judged(past, body):
                replayed.findings.append(found)
        done += len(bodies)
        progress(done, total)
    return replayed


def _judged(past: "Past", body: bytes) -> Finding | None:
    try:
        entry = orjson.loads(body)
        identifier, what = str(entry["id"]), past.differs(entry)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Whoever has the service's login can write anything: one such entry must not hide what others differ in.
        return Finding(f"leaf {leaf_hash(body).hex()}", f"cannot be read: {type(error).__name__}")
    return Finding(identifier, what) if what else None


class Past:
    """The policies of the past, by number and hash, as their files in JSON."""

    def __init__(self, revisions: Mapping[tuple[int, str], str]) -> None:
        self._revisions = revisions
        self._policy = cache(self._built)
        self._known: dict[bytes, str | None] = {}

    def differs(self, entry: Recorded) -> str | None:
        """What of a decision is not as its facts and its policy say, or why that cannot be told; None if all is."""
        # Millions of decisions have some thousand vectors: each is decided once.
        recorded = orjson.dumps([entry[name] for name in ("policy", "facts", *TOLD)])
        if recorded not in self._known:
            self._known[recorded] = self._differs(entry)
        return self._known[recorded]

    def _differs(self, entry: Recorded) -> str | None:
        try:
            told = self._decided((entry["policy"]["revision"], entry["policy"]["sha256"]), entry["facts"])
        except Invalid as error:
            return f"cannot be decided again: {error}"
        differing = [name for name in TOLD if entry[name] != told[name]]
        return f"{', '.join(differing)}: not as recorded" if differing else None

    def _decided(self, revision: tuple[int, str], facts: Mapping[str, str]) -> Recorded:
        policy = self._policy(revision)
        told = policy.told(completed(policy, facts))
        return {name: orjson.loads(value) for name, value in told.logged.items()}

    def _built(self, revision: tuple[int, str]) -> Policy:
        number, sha256 = revision
        if revision not in self._revisions:
            raise Invalid(f"policy revision {number} is not stored under the hash that the entry names")
        try:
            policy = Policy(json.loads(self._revisions[revision]))
        except Exception as error:
            raise Invalid(f"policy revision {number} cannot be built") from error
        if policy.sha256 != sha256:
            raise Invalid(f"policy revision {number} is not the one that its hash names")
        return policy


def completed(policy: Policy, facts: Mapping[str, str]) -> dict[str, str]:
    """The vector with every fact of today. `Invalid` if one that counts is missing, or is no fact.

    A fact that came later than the entry stands in no row of a policy of that time: its value does not matter.
    """
    named = {fact for row in policy.rows for fact in row.cells}
    missing, unknown = FACTS.keys() - facts.keys(), facts.keys() - FACTS.keys()
    if unknown or missing & named:
        raise Invalid(f"its facts are not those of its policy: {', '.join(sorted(unknown | missing & named))}")
    return {fact: facts.get(fact, values[-1]) for fact, values in FACTS.items()}
