"""The log after the run: every entry recomputed, every chain followed, and what was decided counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
import psycopg

from mythos_gate.audit.entry import leaf_hash


class Broken(Exception):
    """The log is not what it must be."""


@dataclass(slots=True)
class Seen:
    """Decisions by outcome; of them the different subjects and fact vectors, and how often each id was wanted."""

    entries: int = 0
    writers: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    subjects: set[str] = field(default_factory=set)
    vectors: set[tuple[str, ...]] = field(default_factory=set)
    found: Counter[str] = field(default_factory=Counter)


def decisions(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM log_entries WHERE type = 'decision'").fetchone()
        assert row is not None
        return int(row[0])


def verify(database: str, wanted: Iterable[str]) -> Seen:
    """`Broken` unless each writer counts 1, 2, 3..., each entry names the leaf before it, and each leaf is its body's.

    And unless each of the wanted decisions has exactly one entry.
    """
    seen, ids = Seen(), set(wanted)
    writer, n, leaf = None, 0, None
    with psycopg.connect(database) as connection, connection.cursor("log", binary=True) as cursor:
        cursor.itersize = 10_000
        cursor.execute("SELECT writer, n, leaf, body FROM log_entries ORDER BY writer, n")
        for row in cursor:
            if row[0] != writer:
                writer, n, leaf = row[0], 0, None
                seen.writers += 1
            members = orjson.loads(row[3])
            expected = (writer, n + 1, leaf and leaf.hex(), leaf_hash(row[3]))
            if (members["writer"], members["n"], members["prev"], row[2]) != expected or row[1] != n + 1:
                raise Broken(f"entry {row[1]} of {writer} does not continue its chain")
            n, leaf = row[1], row[2]
            _count(seen, members, ids)
    if missing := [each for each in ids if seen.found[each] != 1]:
        raise Broken(f"{len(missing)} answers do not have exactly one entry, {missing[0]} among them")
    return seen


def _count(seen: Seen, members: dict[str, object], wanted: set[str]) -> None:
    seen.entries += 1
    if members["type"] != "decision":
        return
    seen.outcomes[str(members["outcome"])] += 1
    subject, facts = members["subject"], members["facts"]
    assert isinstance(subject, dict)
    assert isinstance(facts, dict)
    seen.subjects.add(subject.get("id") or subject["digest"])
    seen.vectors.add(tuple(facts.values()))
    if members["id"] in wanted:
        seen.found[str(members["id"])] += 1
