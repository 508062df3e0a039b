"""What entries say of each other: chains and counters of writers, openings, times, and policies in force.

The tree proves that nothing was changed since it was signed; this finds what was never as it should be, or was changed
before. Entries come in the order of the tree, and nothing here reads anything else.
"""

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from mythos_gate.audit.entry import EPOCH, VERSION, timestamp
from mythos_gate.audit.merkle import HASH

TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
WRITER = re.compile(r"registry|pdp-[0-9a-f]{16}")
LEAF = re.compile(r"[0-9a-f]{64}")
SALT = re.compile(r"[0-9a-f]{32}")
SECOND = len("2026-01-31T18:00:00")
EARLIEST, LATEST = "0", "9999"  # times are compared as they are written
# Beside the common ones (docs/log.md).
DECISION = frozenset({"caller", "subject", "organization", "action", "resource", "context", "request", "facts",
                      "outcome", "rows", "reasons", "cause", "bypassed", "policy", "data_set"})  # fmt: skip
TOLD = 100  # findings of each kind that are told one by one


class Finding(NamedTuple):
    """What is wrong, and at which leaf: at `place`, or somewhere from there until before `end`."""

    place: int | None
    what: str
    end: int | None = None


class Claim(NamedTuple):
    """Somebody's word that a writer's entry `n` was in the log, with this leaf: an opening's, or from outside."""

    who: str
    place: int | None  # the leaf of the opening
    writer: str
    n: int
    leaf: str


class Unknown(NamedTuple):
    """An opening's word that entries `first` to `last` of a writer are in the log, ending in `leaf`, or none is."""

    place: int
    writer: str
    first: int
    last: int
    leaf: str


class Seen(NamedTuple):
    """A witness saw the tree of this size at this time (as an entry writes it)."""

    size: int
    at: str


@dataclass(slots=True)
class Writer:
    first: int  # the n of its first entry here
    leaf: str  # of its last entry
    at: str
    places: "array[int]" = field(default_factory=lambda: array("Q"))  # the index of each entry, by n - first

    @property
    def last(self) -> int:
        return self.first + len(self.places) - 1


class Malformed(ValueError):
    """An entry without what every entry has."""


class Account:
    """What the entries from `start` on say, taken one by one; `findings` grow while they do.

    `narrowed`: there are others between them, so that chains and whatever is missing cannot be told.
    """

    def __init__(
        self, origin: str, start: int, tolerance: timedelta, seen: Sequence[Seen] = (), *, narrowed: bool = False
    ) -> None:
        self._origin = origin
        self._start = start
        self._narrowed = narrowed
        self._tolerance = tolerance
        self.findings: list[Finding] = []
        self.counts: dict[str, int] = {}
        self.unchecked: dict[str, int] = {}
        self.writers: dict[str, Writer] = {}
        self.entries: dict[int, int] = {}  # id -> index
        self.types: dict[str, int] = {}
        self._policies: set[str] = set()
        self._claims: list[Claim] = []
        self._unknown: list[Unknown] = []
        self._missing: int | None = None  # the last leaf whose entry is not there
        self._expected: dict[int, tuple[str, str]] = {}  # id -> who knows it, its leaf
        self._torn: set[str] = set()  # writers of which not all that is here is at hand
        self._latest = EARLIEST
        self._floor = EARLIEST  # what is older is back-dated
        self._seen = sorted(seen)
        self._after, self._before = EARLIEST, LATEST  # what the witnesses allow
        self._next = -1  # the index at which that changes
        self._leaves = bytearray()

    @property
    def _is_whole(self) -> bool:
        return self._start == 0 and self._missing is None and not self._narrowed

    def find(self, kind: str, index: int | None, what: str, end: int | None = None) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= TOLD:
            self.findings.append(Finding(index, what, end))

    def skip(self, what: str) -> None:
        self.unchecked[what] = self.unchecked.get(what, 0) + 1

    def missing(self, index: int, leaf: bytes) -> None:
        """The entry is not there, only its leaf hash."""
        self._leaves += leaf
        self._missing = index

    def bad(self, index: int, leaf: bytes, why: str) -> None:
        """The entry cannot be read."""
        self.find("body", index, why)
        self.missing(index, leaf)

    def take(self, index: int, leaf: bytes, entry: dict[str, Any]) -> None:
        try:
            self._require_common(entry)
        except Malformed as error:
            self.bad(index, leaf, str(error))
            return
        self._leaves += leaf
        kind = entry["type"]
        self.types[kind] = self.types.get(kind, 0) + 1
        self._identify(index, leaf, entry["id"], entry["at"])
        self._time(index, entry["at"])
        if not self._narrowed:
            self._chain(index, leaf.hex(), entry)
        if (check := self._special.get(kind)) is not None:
            check(self, index, entry)

    def _require_common(self, entry: dict[str, Any]) -> None:
        try:
            if entry["v"] != VERSION:
                raise Malformed(f"is of version {entry['v']}, which is not known here")
            if entry["log"] != self._origin:
                raise Malformed(f"is of another log, {entry['log']!r}")
            if type(entry["n"]) is not int or entry["n"] < 1 or type(entry["type"]) is not str:
                raise Malformed("has no type or number as entries have them")
            prev = entry["prev"]
            written = (
                TIME.fullmatch(entry["at"])
                and UUID7.fullmatch(entry["id"])
                and WRITER.fullmatch(entry["writer"])
                and SALT.fullmatch(entry["salt"])
                and (prev is None or LEAF.fullmatch(prev))
            )
        except (KeyError, TypeError) as error:
            raise Malformed(f"lacks a member that every entry has, or has one of another kind: {error}") from error
        if not written:
            raise Malformed("has a time, id, writer, salt or prev that is not written as those of entries are")

    # --- ids and times ---

    def _identify(self, index: int, leaf: bytes, identifier: str, at: str) -> None:
        number = int(identifier.replace("-", ""), 16)
        other = self.entries.setdefault(number, index)
        if other != index:
            self.find("id", index, f"has the id of leaf {other}")
        if self._expected and (expected := self._expected.pop(number, None)) and expected[1] != leaf.hex():
            self.find("claim", index, f"is not the entry that {expected[0]} knows under this id")
        try:
            apart = EPOCH + timedelta(milliseconds=number >> 80) - datetime.fromisoformat(at)
        except (ValueError, OverflowError):
            self.find("time", index, f"has a time that there is not, {at}")
            return
        if abs(apart) > self._tolerance:
            self.find("time", index, f"says {at}, but its id was made at another time ({_told(apart)} apart)")

    def _time(self, index: int, at: str) -> None:
        if index >= self._next:
            self._ask_witnesses(index)
        if at > self._latest:
            if at[:SECOND] != self._latest[:SECOND]:
                self._floor = _moved(at, -self._tolerance)
            self._latest = at
        elif at < self._floor:
            self.find("time", index, f"says {at}, after entries of {self._latest}: it is back-dated")
        if not self._after <= at <= self._before:
            side = "after" if at < self._after else "before"
            self.find("time", index, f"says {at}, but a witness saw the log {side} it was added: it is misdated")

    def _ask_witnesses(self, index: int) -> None:
        """What is added after a witness saw the log is not older than that, and what it saw is not newer."""
        past = [seen.at for seen in self._seen if seen.size <= index]
        coming = [seen for seen in self._seen if seen.size > index]
        self._after = _moved(max(past), -self._tolerance) if past else EARLIEST
        self._before = _moved(min(seen.at for seen in coming), self._tolerance) if coming else LATEST
        self._next = coming[0].size if coming else 2**63

    # --- chains ---

    def _chain(self, index: int, leaf: str, entry: dict[str, Any]) -> None:
        name, n, prev = entry["writer"], entry["n"], entry["prev"]
        writer = self.writers.get(name)
        if writer is None:
            self._begin(index, leaf, entry)
            return
        if n != writer.last + 1:
            if n > writer.last and self._missing is not None and self._missing > writer.places[-1]:
                self.skip("writers' chains across entries that are not in the bundle")
            else:
                self.find("chain", index, f"is entry {n} of {name}, after entry {writer.last}")
            if n > writer.last:  # go on from there: each further gap is one of its own
                self._torn.add(name)
                self.writers[name] = Writer(n, leaf, entry["at"], array("Q", [index]))
            return
        if prev != writer.leaf:
            self.find("chain", writer.places[-1], f"is not what leaf {index}, the next entry of {name}, says it was")
        if name == "registry" and entry["at"] < writer.at:
            self._back(index, entry["at"], writer.at)
        writer.leaf, writer.at = leaf, entry["at"]
        writer.places.append(index)

    def _begin(self, index: int, leaf: str, entry: dict[str, Any]) -> None:
        name, n, prev = entry["writer"], entry["n"], entry["prev"]
        self.writers[name] = Writer(n, leaf, entry["at"], array("Q", [index]))
        if (n == 1) != (prev is None):
            self.find("chain", index, f"is entry {n} of {name} and says otherwise by the leaf before it")
        if n > 1:
            if self._is_whole:
                self.find("chain", index, f"is entry {n} of {name}, of which none comes before")
            else:
                self.skip("what came before the first entry of a writer in the bundle")
        elif name != "registry" and entry["type"] != "session_opened":
            self.find("chain", index, f"is the first entry of {name} and no opening")

    def _back(self, index: int, at: str, before: str) -> None:
        """The bump holds a lock, so only a clock that was set back makes the registry's times fall."""
        if at < _moved(before, -self._tolerance):
            self.find("time", index, f"is of the registry and says {at}, after {before}")
        else:
            self.skip("clock: the registry's times fall, by less than the tolerance")

    # --- what single types say ---

    def _opening(self, index: int, entry: dict[str, Any]) -> None:
        if entry["n"] != 1:
            self.find("chain", index, "is an opening in the middle of a session")
        try:
            if (known := entry["confirmed"]) is not None:
                self.claim(Claim("the opening at", index, known["writer"], known["n"], known["leaf"]))
            for each in entry["unknown"]:
                self._unknown.append(Unknown(index, each["writer"], each["from"], each["to"], each["leaf"]))
        except (KeyError, TypeError):
            self.find("body", index, "is an opening without what an opening says")

    def _activation(self, _index: int, entry: dict[str, Any]) -> None:
        self._policies.add(str(entry.get("sha256")))

    def _decision(self, index: int, entry: dict[str, Any]) -> None:
        if not entry.keys() >= DECISION:
            self.find("body", index, f"is a decision without {', '.join(sorted(DECISION - entry.keys()))}")
            return
        policy = entry["policy"]
        sha256 = policy.get("sha256") if isinstance(policy, dict) else None
        if sha256 in self._policies:
            return
        if self._is_whole:
            self.find("policy", index, f"rests on a policy that was never activated before ({sha256})")
        else:
            self.skip("policies of decisions, which were activated before the bundle begins")

    _special: ClassVar[dict[str, Callable[["Account", int, dict[str, Any]], None]]] = {
        "session_opened": _opening,
        "policy_activated": _activation,
        "decision": _decision,
    }

    # --- the end ---

    def claim(self, claim: Claim) -> None:
        self._claims.append(claim)

    def expect(self, who: str, identifier: str, leaf: bytes) -> None:
        """Somebody was promised that this entry will be in the log. To be said before it is taken."""
        self._expected[int(identifier.replace("-", ""), 16)] = who, leaf.hex()

    def close(self) -> None:
        """After the last entry: what was said of others is looked up."""
        for who, _ in self._expected.values():
            if self._is_whole:
                self.find("claim", None, f"{who} knows an entry that is not in the log: it was removed")
            else:
                self.skip("entries that receipts name and that are not in the bundle")
        for claim in self._claims:
            self._look_up(claim)
        for unknown in self._unknown:
            self._settle(unknown)

    def leaf(self, index: int) -> str:
        at = (index - self._start) * HASH
        return self._leaves[at : at + HASH].hex()

    def _look_up(self, claim: Claim) -> None:
        writer = self.writers.get(claim.writer)
        is_torn = claim.writer in self._torn and writer is not None and claim.n < writer.first
        who = claim.who if claim.place is None else f"{claim.who} leaf {claim.place}"
        named = f"entry {claim.n} of {claim.writer}"
        if writer is not None and writer.first <= claim.n <= writer.last:
            place = writer.places[claim.n - writer.first]
            if self.leaf(place) != claim.leaf:
                self.find("claim", place, f"is not the {named} that {who} knows")
        elif (self._is_whole and not is_torn) or (writer is not None and claim.n > writer.last):
            self.find("claim", claim.place, f"{who} knows {named}, which is not in the log: it was removed")
        else:
            self.skip("entries that openings or high-water files name and that are not in the bundle")

    def _settle(self, unknown: Unknown) -> None:
        """All of the range or none."""
        writer = self.writers.get(unknown.writer)
        if writer is None or writer.first > unknown.first:
            if self._is_whole and writer is None:
                self.find("claim", unknown.place, f"names a session {unknown.writer} that is not in the log")
            else:
                self.skip("batches of unknown outcome that began before the bundle")
        elif writer.last >= unknown.first and (
            writer.last != unknown.last or self.leaf(writer.places[-1]) != unknown.leaf
        ):
            what = f"names entries {unknown.first} to {unknown.last} of {unknown.writer}, of which some are there only"
            self.find("claim", unknown.place, what)


def _moved(at: str, by: timedelta) -> str:
    try:
        return timestamp(datetime.fromisoformat(at) + by)
    except (ValueError, OverflowError):
        return EARLIEST if by < timedelta() else LATEST


def instant(seconds: int) -> str:
    """A time in seconds since 1970 as an entry writes it."""
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def _told(apart: timedelta) -> str:
    return f"{abs(apart).total_seconds():.0f} s"
