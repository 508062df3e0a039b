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

from mythos_gate.audit.entry import EPOCH, timestamp
from mythos_gate.audit.merkle import HASH
from mythos_gate.audit.page import MICROSECONDS, NOTHING, UUID, Page, cells

TOLD = 100  # findings of each kind that are told one by one
EVER = 2**63
MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
KEPT = 10  # calendar years, as the database has it (migration 0008)
# So long may pass from an entry's receipt until a tree has it; whatever is younger in that tree came after it.
MERGED = timedelta(minutes=1)


class Finding(NamedTuple):
    """What is wrong, and at which leaf: at `place`, or somewhere from there until before `end`."""

    place: int | None
    what: str
    end: int | None = None


class Claim(NamedTuple):
    """Somebody's word that an entry of this leaf was in the log: an opening's, a high-water file's or a receipt's.

    A receipt names it by its id, others by its writer and `n`. `at`: it was there by then, in microseconds since 1970;
    None if nobody says when.
    """

    who: str
    leaf: bytes
    writer: str = ""
    n: int = 0
    id: bytes = b""
    at: int | None = None
    place: int | None = None  # the leaf of the opening


class Unknown(NamedTuple):
    """An opening's word that entries `first` to `last` of a writer are in the log, ending in `leaf`, or none is."""

    place: int
    writer: str
    first: int
    last: int
    leaf: bytes


class Anchor(NamedTuple):
    """The log's own word of a head that it had signed before."""

    place: int
    size: int
    root: bytes


class Pruned(NamedTuple):
    """The log's own word, at leaf `place`, that so many entries from leaf `first` to `last` are no longer kept.

    They are all that there were of before `before`, in microseconds since 1970.
    """

    place: int
    before: int
    first: int
    last: int
    entries: int


class Seen(NamedTuple):
    """A witness saw the tree of this size at this time, in microseconds since 1970."""

    size: int
    at: int


class Leap(NamedTuple):
    """An entry at `place` came long after all before it, which were of `before`, in microseconds since 1970."""

    place: int
    before: int


class Row(NamedTuple):
    """Of an entry: its leaf's place and hash, the leaf before it of its writer, and what it says of itself."""

    place: int
    leaf: bytes
    prev: bytes
    id: bytes
    at: int
    n: int
    writer: str


@dataclass(slots=True)
class Writer:
    first: int  # the n of its first entry here
    leaf: bytes  # of its last entry
    at: int
    places: "array[int]" = field(default_factory=lambda: array("Q"))  # the leaf of each entry, by n - first

    @property
    def last(self) -> int:
        return self.first + len(self.places) - 1


class Account:
    """What the entries from `start` on say, taken one by one; `findings` grow while they do.

    `narrowed`: there are others between them, so that chains and whatever is missing cannot be told. `ends`: they
    end where the tree does.
    """

    def __init__(
        self,
        start: int,
        tolerance: timedelta,
        seen: Sequence[Seen] = (),
        *,
        pruned: int = 0,
        narrowed: bool = False,
        ends: bool = True,
    ) -> None:
        self._start = start
        self._pruned = pruned
        self._narrowed = narrowed
        self._ends = ends
        self._tolerance = tolerance // EPOCH.resolution
        self.findings: list[Finding] = []
        self.counts: dict[str, int] = {}
        self.unchecked: dict[str, int] = {}
        self.denied: list[str] = []
        self.writers: dict[str, Writer] = {}
        self.retired: dict[str, int] = {}  # keys, as verifiers, with the leaf that ends them
        self.types: dict[str, int] = {}
        self._ids: set[bytes] = set()
        self._policies: set[str] = set()
        self._claims: list[Claim] = []
        self._unknown: list[Unknown] = []
        self._missing: int | None = None  # the last leaf whose entry is not there
        self._gone: array[int] = array("Q")  # leaves without an entry,
        self._since: array[int] = array("q")  # and the latest time that an entry before each says
        self._pruning: list[Pruned] = []
        self._named: dict[bytes, tuple[int, bytes] | None] = {}  # by the ids that claims name, place and leaf
        self._torn: set[str] = set()  # writers of which not all that is here is at hand
        self._latest = -EVER
        self._leapt: Leap | None = None  # the last entry, if that is one
        self._earliest = EVER, 0  # and at which leaf
        self._seen = sorted(seen)
        self._after, self._before = -EVER, EVER  # what the witnesses allow
        self._next = -1  # the leaf at which that changes
        self.anchors: list[Anchor] = []
        self.leaves = bytearray()

    @property
    def _is_whole(self) -> bool:
        return self._start == 0 and self._missing is None and not self._narrowed

    def _covers(self, at: int | None) -> bool:
        """Whether what was in the log by then must be here.

        Only the entries themselves date the tree. The manifest tells when it was exported, which may be long after
        its head; and a head may be cosigned long after it was signed.
        """
        if at is None or not self._is_whole or not self._ends:
            return False
        return self._latest > at + MERGED // EPOCH.resolution + self._tolerance

    def find(self, kind: str, place: int | None, what: str, end: int | None = None) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= TOLD:
            self.findings.append(Finding(place, what, end))

    def skip(self, what: str) -> None:
        self.unchecked[what] = self.unchecked.get(what, 0) + 1

    def take(self, page: Page, places: Sequence[int]) -> None:
        """The entries of a page, which are at these leaves."""
        self.leaves += page.leaves
        empty = frozenset(page.empty)
        columns = zip(
            places, cells(page.leaves), cells(page.previous), cells(page.ids, UUID), page.times, page.numbers,
            page.writers, page.types, page.policies, strict=True,
        )  # fmt: skip
        for row, (*cell, kind, policy) in enumerate(columns):
            entry = Row(*cell)
            if row in empty:
                self._lack(entry.place)
            elif row in page.bad:
                self.find("body", entry.place, page.bad[row])
                self._missing = entry.place
            else:
                self.types[kind] = self.types.get(kind, 0) + 1
                self._take(entry, policy, page.special.get(row))

    def _take(self, entry: Row, policy: str, members: dict[str, Any] | None) -> None:
        self._identify(entry)
        self._time(entry.place, entry.at)
        if not self._narrowed:
            self._chain(entry, is_opening=members is not None and members["type"] == "session_opened")
        if policy:
            self._rest(entry.place, policy)
        elif members is not None:
            self._say(entry, members)

    def _say(self, entry: Row, members: dict[str, Any]) -> None:
        kind = members["type"]
        is_registrys, say = self._special[kind]
        if (entry.writer == "registry") is is_registrys:
            say(self, entry.place, members)
        else:
            self.find("claim", entry.place, f"is {kind} and by {entry.writer}, who writes none")

    def _lack(self, place: int) -> None:
        if place >= self._next:
            self._ask_witnesses(place)
        self._missing = place
        self._gone.append(place)
        self._since.append(max(self._latest, self._after))

    # --- ids and times ---

    def _identify(self, entry: Row) -> None:
        place, identifier, at = entry.place, entry.id, entry.at
        if identifier in self._ids:
            self.find("id", place, "has the id of an entry before")
        elif identifier in self._named:
            self._named[identifier] = place, entry.leaf
        self._ids.add(identifier)
        apart = abs(int.from_bytes(identifier[:6]) * 1000 - at)
        if apart > self._tolerance + 1000:
            self.find("time", place, f"says {told(at)}, but its id was made {apart // MICROSECONDS} s apart from that")

    def _time(self, place: int, at: int) -> None:
        if place >= self._next:
            self._ask_witnesses(place)
        if at < self._earliest[0]:
            self._earliest = at, place
        self._order(place, at)
        if at < self._after:
            self.find("time", place, f"says {told(at)}, but a witness saw the log without it later: it is back-dated")
        elif at > self._before:
            self.find("time", place, f"says {told(at)}, but a witness saw it in the log before that")

    def _order(self, place: int, at: int) -> None:
        """Times may fall by the tolerance. One that leapt ahead counts only when another entry follows it there."""
        if at < self._latest - self._tolerance:
            if self._leapt is None or at < self._leapt.before - self._tolerance:
                self.find("time", place, f"says {told(at)}, after entries of {told(self._latest)}: it is back-dated")
                return
            what = f"one of them has a wrong time: the first says {told(self._latest)}, the last {told(at)}"
            self.find("time", self._leapt.place, what, place + 1)
            self._latest, self._leapt = max(at, self._leapt.before), None
            return
        self._leapt = Leap(place, self._latest) if at > self._latest + self._tolerance else None
        self._latest = max(at, self._latest)

    def _ask_witnesses(self, place: int) -> None:
        """What is added after a witness saw the log is not older than that, and what it saw is not newer."""
        past = [seen.at for seen in self._seen if seen.size <= place]
        coming = [seen for seen in self._seen if seen.size > place]
        self._after = max(past) - self._tolerance if past else -EVER
        # A cosignature's time is in whole seconds.
        self._before = min(seen.at for seen in coming) + MICROSECONDS + self._tolerance if coming else EVER
        self._next = coming[0].size if coming else EVER

    # --- chains ---

    def _chain(self, entry: Row, *, is_opening: bool) -> None:
        writer = self.writers.get(entry.writer)
        if writer is None:
            self._begin(entry, is_opening=is_opening)
            return
        if entry.n != writer.first + len(writer.places):
            self._jump(entry, writer)
            return
        if entry.prev != writer.leaf:
            what = f"is not what leaf {entry.place}, the next entry of {entry.writer}, says it was"
            self.find("chain", writer.places[-1], what)
        if entry.at < writer.at and entry.writer == "registry":
            self._fall(entry.place, entry.at, writer.at)
        writer.leaf, writer.at = entry.leaf, entry.at
        writer.places.append(entry.place)

    def _begin(self, entry: Row, *, is_opening: bool) -> None:
        place, n, name = entry.place, entry.n, entry.writer
        self.writers[name] = Writer(n, entry.leaf, entry.at, array("Q", [place]))
        if (n == 1) != (entry.prev == NOTHING):
            self.find("chain", place, f"is entry {n} of {name} and says otherwise by the leaf before it")
        if n > 1 and self._is_whole:
            self.find("chain", place, f"is entry {n} of {name}, of which none comes before")
        elif n > 1:
            self.skip("what came before the first entry of a writer in the bundle")
        elif name != "registry" and not is_opening:
            self.find("chain", place, f"is the first entry of {name} and no opening")

    def _jump(self, entry: Row, writer: Writer) -> None:
        place, n, name = entry.place, entry.n, entry.writer
        if n > writer.last and self._may_lack(writer):
            self.skip("writers' chains across entries that are not in the bundle")
        else:
            self.find("chain", place, f"is entry {n} of {name}, after entry {writer.last}")
        if n > writer.last:  # go on from there: each further gap is one of its own
            self._torn.add(name)
            self.writers[name] = Writer(n, entry.leaf, entry.at, array("Q", [place]))

    def _may_lack(self, writer: Writer) -> bool:
        """Whether an entry of its own may be among those that are not there."""
        return self._missing is not None and self._missing > writer.places[-1]

    def _fall(self, place: int, at: int, before: int) -> None:
        """The bump holds a lock, so only a clock that was set back makes the registry's times fall."""
        if at < before - self._tolerance:
            self.find("time", place, f"is of the registry and says {told(at)}, after {told(before)}")
        else:
            self.skip("why the registry's times fall, by less than the tolerance: a clock that was set back")

    # --- what single types say ---

    def _rest(self, place: int, policy: str) -> None:
        if policy in self._policies:
            return
        if self._is_whole:
            self.find("policy", place, f"rests on a policy that was never activated before ({policy})")
        else:
            self.skip("policies of decisions, which were activated before the bundle begins")

    def _open(self, place: int, entry: dict[str, Any]) -> None:
        if entry["n"] != 1:
            self.find("chain", place, "is an opening in the middle of a session")
        try:
            if (known := entry["confirmed"]) is not None:
                leaf = bytes.fromhex(known["leaf"])
                who = f"the opening at leaf {place}"
                self.claim(Claim(who, leaf, str(known["writer"]), int(known["n"]), place=place))
            for each in entry["unknown"]:
                leaf = bytes.fromhex(each["leaf"])
                self._unknown.append(Unknown(place, str(each["writer"]), int(each["from"]), int(each["to"]), leaf))
        except (KeyError, TypeError, ValueError):
            self.find("body", place, "is an opening without what an opening says")

    def _activate(self, _place: int, entry: dict[str, Any]) -> None:
        self._policies.add(str(entry.get("sha256")))

    def _anchor(self, place: int, entry: dict[str, Any]) -> None:
        try:
            head = entry["checkpoint"]
            anchor = Anchor(place, int(head["size"]), bytes.fromhex(head["root"]))
        except (KeyError, TypeError, ValueError):
            self.find("body", place, "is an anchor without what an anchor says")
            return
        if not 0 <= anchor.size <= place or len(anchor.root) != HASH:
            self.find("claim", place, f"is an anchor of a head of {anchor.size} entries, which there was not yet")
            return
        self.anchors.append(anchor)

    def _prune(self, place: int, entry: dict[str, Any]) -> None:
        """What the log says of a prune excuses what is missing, if it can have been one."""
        try:
            before = _month(entry["before"])
            free = before.replace(year=before.year + KEPT)
            at = (before - EPOCH) // EPOCH.resolution
            pruned = Pruned(place, at, int(entry["first"]), int(entry["last"]), int(entry["entries"]))
        except (KeyError, TypeError, ValueError):
            self.find("body", place, "is a pruning without what it says")
            return
        earliest, where = self._earliest
        if datetime.fromisoformat(entry["at"]) < free:
            self.find("prune", place, f"says that what was written before {entry['before']} was dropped, which is kept "
                      f"until {timestamp(free)}")  # fmt: skip
        elif earliest < pruned.before - self._tolerance:
            self.find("prune", place, f"says that all that was written before {entry['before']} was dropped, but leaf "
                      f"{where} is of {told(earliest)}")  # fmt: skip
        else:
            self._pruning.append(pruned)

    def _retire(self, place: int, entry: dict[str, Any]) -> None:
        self.retired.setdefault(str(entry.get("verifier")), place)

    # Of each type whether the registry writes it, or a session of the gate.
    _special: ClassVar[dict[str, tuple[bool, Callable[["Account", int, dict[str, Any]], None]]]] = {
        "session_opened": (False, _open),
        "policy_activated": (True, _activate),
        "anchor": (False, _anchor),
        "log_pruned": (True, _prune),
        "log_key_retired": (True, _retire),
    }

    # --- what was said of others ---

    def claim(self, claim: Claim) -> None:
        """Before the entry is taken, if it is named by its id."""
        self._claims.append(claim)
        if claim.id:
            self._named[claim.id] = None

    def close(self) -> None:
        """After the last entry: what was said of others is looked up."""
        self._miss()
        bare = frozenset[bytes]() if self._narrowed else frozenset(map(self._leaf, self._gone))
        for claim in self._claims:
            self._look_up(claim, bare)
        for unknown in self._unknown:
            self._settle(unknown)

    def _miss(self) -> None:
        """Entries that are not there, and that the log does not say were pruned."""
        pruned = []
        for place, since in zip(self._gone, self._since, strict=True):
            if place < self._pruned:
                self.skip("entries that are no longer kept")
            elif any(self._explains(each, place, since) for each in self._pruning):
                pruned.append(place)
                self.skip("entries that are no longer kept, as the log says")
            else:
                self.find("missing", place, "is not there: its entry was removed")
        if len(pruned) > sum(each.entries for each in self._pruning):
            self.find("missing", pruned[0], f"is one of {len(pruned)} that are not there, more than were pruned")

    def _explains(self, pruned: Pruned, place: int, since: int) -> bool:
        """An entry is not older, but for the tolerance, than any before it: behind a young one none was dropped."""
        is_named = pruned.first <= place <= pruned.last and place < pruned.place
        return is_named and since < pruned.before + self._tolerance

    def _leaf(self, place: int) -> bytes:
        at = (place - self._start) * HASH
        return bytes(self.leaves[at : at + HASH])

    def _look_up(self, claim: Claim, bare: frozenset[bytes]) -> None:
        if (found := self._found(claim)) is not None:
            place, leaf = found
            if leaf != claim.leaf:
                of = "" if claim.id else f" {claim.n} of {claim.writer}"
                self.find("claim", place, f"is not the entry{of} that {claim.who} knows")
        elif claim.leaf not in bare and self._must_have(claim):
            what = "an entry" if claim.id else f"entry {claim.n} of {claim.writer}"
            self.find("claim", claim.place, f"{claim.who} knows {what}, which is not in the log: it was removed")
        elif not claim.id:
            self.skip("entries that openings or high-water files name and that are not in the bundle")
        elif claim.leaf in bare:
            self.skip("entries that receipts name and that are no longer kept: their leaves are there")
        else:  # who hands in a receipt wants to know of just that: not to know is no yes
            why = "it is not in the bundle, which is only a part of the log, or ends too soon after the receipt"
            self.denied.append(f"{claim.who}: {why}")

    def _found(self, claim: Claim) -> tuple[int, bytes] | None:
        """The place and leaf of what is here under that name."""
        if claim.id:
            return self._named[claim.id]
        writer = self.writers.get(claim.writer)
        if writer is None or not writer.first <= claim.n <= writer.last:
            return None
        place = writer.places[claim.n - writer.first]
        return place, self._leaf(place)

    def _must_have(self, claim: Claim) -> bool:
        """Whether the entry would be here if it were in the log."""
        writer = self.writers.get(claim.writer)
        if claim.writer in self._torn and writer is not None and claim.n < writer.first:
            return False
        if claim.place is None:
            return self._covers(claim.at)
        # What an opening names is before it in the tree.
        return self._is_whole or (writer is not None and claim.n > writer.last and not self._may_lack(writer))

    def _settle(self, unknown: Unknown) -> None:
        """All of the range or none."""
        writer = self.writers.get(unknown.writer)
        if writer is None or writer.first > unknown.first or self._may_lack(writer):
            if self._is_whole and writer is None:
                self.find("claim", unknown.place, f"names a session {unknown.writer} that is not in the log")
            else:
                self.skip("batches of unknown outcome that are not all in the bundle")
        elif writer.last >= unknown.first and (
            writer.last != unknown.last or self._leaf(writer.places[-1]) != unknown.leaf
        ):
            what = f"names entries {unknown.first} to {unknown.last} of {unknown.writer}, of which only some are there"
            self.find("claim", unknown.place, what)


def told(at: int) -> str:
    """Microseconds since 1970 as an entry writes a time; a witness may say what no calendar has."""
    try:
        return timestamp(EPOCH + timedelta(microseconds=at))
    except OverflowError:
        return f"{at} microseconds after 1970"


def _month(given: str) -> datetime:
    """Its beginning. TypeError or ValueError if it is not written like 2016-01."""
    if not MONTH.fullmatch(given):
        raise ValueError(f"{given!r} is no month")
    return datetime.fromisoformat(f"{given}-01").replace(tzinfo=UTC)
