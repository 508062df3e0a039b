"""Files that one officer asks to import and another approves: all of them at once, or none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from mythos_gate.errors import Invalid, TooLarge
from mythos_gate.registry import csvfile, imports
from mythos_gate.registry.change import Change
from mythos_gate.registry.imports import KINDS, Outcome
from mythos_gate.registry.kind import Clock, Problems, Record

COUNTED = ("created", "updated", "unchanged")
PERSON = ("person_id", "sponsor_id")


def apart(files: Sequence[tuple[str, bytes]], limit: int) -> dict[str, Any]:
    """What a request of these kinds and files holds, for compliance alone: they may say who is of which nationality.

    `limit`: bytes of all of them. `TooLarge`, `Invalid` for an unknown kind, `InvalidFile` for what is no text.
    """
    if (size := sum(len(data) for _, data in files)) > limit:
        what = f"the files have {size} bytes, and one request takes {limit} at most (MYTHOS_GATE_IMPORT_LIMIT)"
        raise TooLarge(f"{what}: request them in parts")
    for kind, _ in files:
        if kind not in KINDS:
            raise Invalid(f"'{kind}' is no kind of file: use one of {', '.join(KINDS)}")
    return {"files": [{"kind": kind, "text": _text(kind, data)} for kind, data in files]}


def _text(kind: str, data: bytes) -> str:
    problems = Problems(KINDS[kind])
    text = csvfile.decode(data, problems)
    if "\0" in text:
        problems.add(None, None, "the file contains U+0000", "save it as CSV UTF-8")
        problems.end()
    return text


@dataclass(slots=True)
class Standing:
    """What files rest on: the records that they speak of as they were, and whom the names stood for.

    `people`: whom what they write is about.
    """

    made: set[str] = field(default_factory=set)  # ids given by these files, others each time that they are tried
    lines: set[bytes] = field(default_factory=set)
    people: set[str] = field(default_factory=set)

    def learn(self, outcome: Outcome) -> None:
        for table, names in outcome.names.items():
            self._keep([table, name, identifier] for name, identifier in names.items())
        for plan in outcome.plans:
            self._keep([plan.part.table.name, record] for record in (*plan.found, *plan.deletes))
            self.people |= {person for record in plan.written for person in _people(plan.part.table.name, record)}
        self.made |= {str(record["id"]) for plan in outcome.plans for record in plan.inserts if "id" in record}

    def _keep(self, seen: Iterable[list[Any]]) -> None:
        """But for what an earlier one of the files has made, or tied to what it has."""
        self.lines |= {
            orjson.dumps(each, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
            for each in seen
            if not self.made.intersection(_texts(each))
        }

    @property
    def sha256(self) -> str:
        return sha256(b"\n".join(sorted(self.lines))).hexdigest()


def _people(table: str, record: Record) -> Iterable[str]:
    named = [record["id"]] if table == "people" else [record.get(column) for column in PERSON]
    return (str(each) for each in (*named, *(record.get("people") or ())) if each)


def _texts(value: Any) -> Iterable[str]:
    """Every string in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


async def take(change: Change, given: Mapping[str, Any], now: datetime) -> tuple[dict[str, dict[str, int]], Standing]:
    """Import them in their order, an entry for each; the records by kind and what became of them.

    `InvalidFile` with all problems of the first that has any, `Conflict`.
    """
    counts: dict[str, Counter[str]] = {}
    standing = Standing()
    for file in given["files"]:
        summary, outcome = await imports.loaded(change, file["kind"], file["text"].encode(), Clock(now))
        change.part()
        await imports.aside(standing.learn, outcome)
        counts.setdefault(file["kind"], Counter()).update({name: getattr(summary, name) for name in COUNTED})
    return {kind: dict(count) for kind, count in counts.items()}, standing
