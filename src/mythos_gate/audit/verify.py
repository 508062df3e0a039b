"""Verifying a bundle offline: no database, no network, no trust in what the bundle says of itself.

The tree is proved first (RFC 9162), then the entries are held to what they say of each other (`chains`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice, zip_longest
from typing import Any
from uuid import UUID

import orjson

from mythos_gate.audit import bundle, checkpoint, merkle, note, receipt
from mythos_gate.audit.bundle import Bundle, Files, Unreadable
from mythos_gate.audit.chains import TOLD, Account, Claim, Finding, Seen, told
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import EPOCH
from mythos_gate.audit.merkle import HASH, Frontier, Node, Unproven
from mythos_gate.audit.note import BadNote, VerifierKey
from mythos_gate.audit.page import MICROSECONDS, NOTHING, Page, cells, read
from mythos_gate.audit.report import Held, Report, Trust

TOLERANCE = timedelta(minutes=5)
PIECE = 1 << 16  # hashes
NOTHING_HELD = Held()
Progress = Callable[[int], None]
# Like the builtin `map`: with one that shares the work among processes, verifying takes a fraction of the time.
Mapper = Callable[[Callable[[list[bytes]], Page], Iterable[list[bytes]]], Iterator[Page]]


def verify(
    given: Bundle,
    trust: Trust,
    held: Held = NOTHING_HELD,
    tolerance: timedelta = TOLERANCE,
    pruned: int = 0,
    progress: Progress = lambda _: None,
    mapping: Mapper = map,
) -> Report:
    """All that can be checked. `Unreadable` if it is no bundle; leaves below `pruned` need no entry any more."""
    return _Verification(given, trust, held, tolerance, pruned, progress, mapping).run()


class _Roots:
    """The roots of trees of these sizes, while leaves are appended from the left."""

    def __init__(self, frontier: Frontier, sizes: Iterable[int]) -> None:
        self._frontier = frontier
        self._coming = sorted({size for size in sizes if size >= frontier.size}, reverse=True)
        self.found: dict[int, bytes] = {}
        self._note()

    def append(self, leaves: Sequence[bytes]) -> None:
        at = 0
        while self._coming and self._coming[-1] <= self._frontier.size + len(leaves) - at:
            upto = at + self._coming[-1] - self._frontier.size
            self._frontier.append(leaves[at:upto])
            at = upto
            self._note()
        self._frontier.append(leaves[at:])

    def _note(self) -> None:
        while self._coming and self._coming[-1] == self._frontier.size:
            self.found[self._coming.pop()] = self._frontier.root()

    def finish(self, right: Iterable[tuple[Node, bytes]]) -> dict[int, bytes]:
        """All that were asked for, and that of the whole tree."""
        for node, value in right:
            self._frontier.extend(node, value)
        return {**self.found, self._frontier.size: self._frontier.root()}


class _Verification:
    def __init__(
        self,
        given: Bundle,
        trust: Trust,
        held: Held,
        tolerance: timedelta,
        pruned: int,
        progress: Progress,
        mapping: Mapper,
    ) -> None:
        self._bundle = given
        self._trust = trust
        self._held = held
        self._pruned = pruned
        self._progress = progress
        self._mapping = mapping
        self._manifest, self._note = given.manifest()
        self._report = Report(self._manifest)
        self._files = Files(given, self._manifest, self._differs)
        self._tolerance = tolerance
        self._heads: dict[int, Checkpoint] = {}  # every signed head in the bundle, by size
        self._signers: dict[int, set[str]] = {}  # the keys that signed them, of those given
        self._seen: list[Seen] = []
        self._old: Checkpoint | None = None  # that the auditor kept
        self._roots: dict[int, bytes] = {}
        self._other: list[int] = []  # leaves that are not what LEAVES has
        self._surplus = 0  # lines of RECORDS beyond the range

    def run(self) -> Report:
        self._check_manifest()
        head = self._check_checkpoint()
        self._read_heads()
        self._open_held()
        account = self._account()
        if self._manifest.is_complete:
            self._check_range(head, account)
        else:
            self._check_records(head, account)
        account.close()
        self._check_keys(account.retired)
        self._take_in(account)
        self._check_held(head)
        self._check_files()
        return self._report

    def _find(self, index: int | None, what: str, end: int | None = None) -> None:
        self._report.findings.append(Finding(index, what, end))

    def _differs(self, name: str) -> None:
        self._find(None, f"{name} is not the file that the manifest names: it was damaged or exchanged")

    # --- 1: the manifest and the checkpoint ---

    def _check_manifest(self) -> None:
        if self._manifest.origin != self._trust.origin:
            self._find(None, f"the bundle is of the log {self._manifest.origin}, the key of {self._trust.origin}")
        if not self._trust.receipt_keys:
            self._report.unchecked.append("who made the bundle: no key of receipts was given")
            return
        try:
            if bundle.is_signed(self._note, self._trust.receipt_keys, self._trust.origin):
                self._report.checked.append(f"the manifest's signature: exported {self._manifest.at}")
            else:
                self._find(None, "the manifest is not signed by the log's key of receipts")
        except BadNote as error:
            self._find(None, f"the manifest: {error}")

    def _check_checkpoint(self) -> Checkpoint | None:
        """The head, if one of the log's keys signed it: everything else is proved against it."""
        given = self._files.whole(bundle.CHECKPOINT)
        try:
            head, keys = checkpoint.signed_by(given, self._trust.keys, self._trust.origin)
            cosigned = checkpoint.cosigned(given, self._trust.witnesses)
        except BadNote as error:
            self._find(None, f"the checkpoint: {error}")
            return None
        if head.size != self._manifest.size:
            self._find(None, f"the checkpoint is of size {head.size}, the manifest of {self._manifest.size}")
        by = ", ".join(sorted(key.text for key in keys))
        self._report.checked.append(f"the checkpoint of {head.size} entries is signed by the log: {by}")
        self._keep(head, keys, cosigned)
        self._check_witnesses(cosigned)
        return head

    def _check_witnesses(self, cosigned: Mapping[str, int]) -> None:
        if not self._trust.witnesses and not self._trust.quorum:
            self._report.unchecked.append("witnesses: none was given")
            return
        saw = [f"{name} at {told(at * MICROSECONDS)}" for name, at in sorted(cosigned.items())]
        if len(cosigned) < self._trust.quorum:
            self._find(None, f"{len(cosigned)} witnesses cosigned the checkpoint, {self._trust.quorum} are required")
        self._report.checked.append(f"witnesses of the checkpoint: {', '.join(saw) or 'none'}")

    def _keep(self, head: Checkpoint, keys: Iterable[VerifierKey], cosigned: Mapping[str, int]) -> None:
        self._heads[head.size] = head
        self._signers.setdefault(head.size, set()).update(key.text for key in keys)
        self._date(head, cosigned)

    def _date(self, head: Checkpoint, cosigned: Mapping[str, int]) -> None:
        self._seen += [Seen(head.size, at * MICROSECONDS) for at in cosigned.values() if at]

    def _read_heads(self) -> None:
        """Earlier heads that the log signed; what no given key signed says nothing: its keys change with time."""
        unknown = 0
        for line in self._files.few_lines(bundle.CHECKPOINTS):
            try:
                given = _note(line)
                if not note.read(given, self._trust.keys).verified:
                    unknown += 1
                    continue
                head, keys = checkpoint.signed_by(given, self._trust.keys, self._trust.origin)
                cosigned = checkpoint.cosigned(given, self._trust.witnesses)
            except BadNote as error:
                self._find(None, f"one of {bundle.CHECKPOINTS}: {error}")
                continue
            if (known := self._heads.get(head.size)) is not None and known.root != head.root:
                self._find(
                    None, f"the log signed two trees of size {head.size}: it tells different people different things"
                )
            self._keep(head, keys, cosigned)
        if unknown:
            self._report.unchecked.append(f"heads that none of the given keys signed, as before a rotation ({unknown})")

    def _account(self) -> Account:
        manifest = self._manifest
        account = Account(
            manifest.start, self._tolerance, self._seen,
            pruned=self._pruned, narrowed=not manifest.is_complete, ends=manifest.end == manifest.size,
        )  # fmt: skip
        for given in self._held.receipts:
            self._claim(account, given)
        for each in self._held.high_water:
            leaf, writer, n = bytes.fromhex(each["leaf"]), str(each["writer"]), int(each["n"])
            account.claim(Claim("the high-water file", leaf, writer, n, at=each.get("at")))
        return account

    def _claim(self, account: Account, given: bytes) -> None:
        if not self._trust.receipt_keys:
            self._report.denied.append("a receipt: no key of receipts was given")
            return
        try:
            found = receipt.opened(given, self._trust.receipt_keys, self._trust.origin)
        except BadNote as error:
            self._find(None, f"a receipt: {error}")
            return
        at = (found.at - EPOCH) // EPOCH.resolution
        account.claim(Claim(f"the receipt of {found.entry}", found.leaf, id=UUID(found.entry).bytes, at=at))

    def _check_keys(self, retired: Mapping[str, int]) -> None:
        """A key that the log has ended signs no head that has that: who still has it could sign anything."""
        for size, signers in self._signers.items():
            ends = [retired.get(each, size) for each in signers]
            if all(end < size for end in ends):
                what = f"no key but one that the log retired at leaf {min(ends)} signed the head of {size} entries"
                self._find(None, f"{what}: it is forged, unless the key that followed is missing here: give it too")

    # --- 2: a whole range ---

    def _check_range(self, head: Checkpoint | None, account: Account) -> None:
        roots, right = self._left_and_right()
        self._pass(account, roots)
        is_short = self._report.leaves < self._count
        self._roots = roots.found if is_short else roots.finish(right)
        stored = self._stored_roots() if is_short or self._other else self._roots
        if head is None or stored.get(head.size) != head.root:
            stored = {}  # LEAVES is not what was signed
        is_counted = self._check_counts(knows_first=bool(stored))
        if is_counted:
            self._check_anchors(account)
        if head is not None and head.size == self._manifest.size:
            self._judge(head, stored, is_counted=is_counted)
        else:
            for place in self._other[:TOLD]:
                self._find(place, f"is not the entry of which {bundle.LEAVES} has the hash")
            self._check_heads(is_sound=False)

    @property
    def _count(self) -> int:
        return self._manifest.end - self._manifest.start

    def _check_counts(self, *, knows_first: bool) -> bool:
        """Whether there is one line for each leaf; if not, from which leaf on, if that is known."""
        of = f"leaves {self._manifest.start} to {self._manifest.end}"
        if (size := self._manifest.files[bundle.LEAVES].size) != HASH * self._count:
            self._find(None, f"{bundle.LEAVES} has {size} bytes for {of}, of {HASH} each")
        count = self._report.leaves + self._surplus
        if count == self._count:
            return True
        first = self._other[0] if self._other else self._manifest.start + self._report.leaves
        what = f"{bundle.RECORDS} has {count} lines for {of}: some were added or removed"
        self._find(first if knows_first else None, what)
        return False

    def _check_anchors(self, account: Account) -> None:
        """What the log says of its own earlier heads."""
        anchors = [each for each in account.anchors if each.size >= self._manifest.start]
        if not anchors:
            return
        roots, _ = self._left_and_right(each.size for each in anchors)
        roots.append(cells(account.leaves[: (max(each.size for each in anchors) - self._manifest.start) * HASH]))
        for anchor in anchors:
            if roots.found[anchor.size] != anchor.root:
                what = f"is an anchor of another tree of {anchor.size} entries: what it covers was changed since"
                account.find("anchor", anchor.place, what)
        self._report.checked.append(f"{len(anchors)} anchors: each names the tree that there was")

    def _left_and_right(self, more: Iterable[int] = ()) -> tuple[_Roots, list[tuple[Node, bytes]]]:
        """The tree left of the range, to which leaves are appended, and what follows right of it."""
        start, end, size = self._manifest.start, self._manifest.end, self._manifest.size
        left, right = merkle.range_nodes(start, end, size)
        sizes = [
            each for each in (*self._heads, *([self._old.size] if self._old else []), *more) if start <= each <= end
        ]
        lines = self._files.few_lines(bundle.SUBTREES)
        try:
            hashes = [_hash(line) for line in lines]
            frontier = Frontier.of(start, hashes[: len(left)])
            return _Roots(frontier, sizes), list(zip(right, hashes[len(left) :], strict=True))
        except (ValueError, UnicodeDecodeError) as error:
            raise Unreadable(f"{bundle.SUBTREES} is not what a bundle of leaves {start} to {end} has") from error

    def _pass(self, account: Account, roots: _Roots) -> None:
        """Once over all records: hash each, append it, and hold it to the others."""
        place, stored = self._manifest.start, self._files.leaves()
        for page in self._pages(self._records()):
            hashes = cells(page.leaves)
            known = list(islice(stored, len(hashes)))
            for row in page.empty:  # of what is no longer kept, the tree's word counts
                page.leaves[row * HASH : (row + 1) * HASH] = hashes[row] = known[row] if row < len(known) else NOTHING
            if hashes != known:
                pairs = enumerate(zip_longest(hashes, known), place)
                self._other += [at for at, (one, two) in pairs if one != two]
            roots.append(hashes)
            account.take(page, range(place, place + page.count))
            place += page.count
            self._take(page)

    def _records(self) -> Iterator[list[bytes]]:
        """No more lines than there are leaves; of what follows, only how many."""
        left = self._count
        for lines in self._files.lines(bundle.RECORDS):
            self._surplus += max(0, len(lines) - left)
            yield lines[:left]
            left = max(0, left - len(lines))

    def _pages(self, stretches: Iterable[list[bytes]]) -> Iterator[Page]:
        return self._mapping(partial(read, self._trust.origin), stretches)

    def _take(self, page: Page) -> None:
        self._report.leaves += page.count
        self._progress(self._report.leaves)

    def _judge(self, head: Checkpoint, stored: dict[int, bytes], *, is_counted: bool) -> None:
        """Whether these are the entries that were signed; if not, which are not, or since when.

        `stored` are the roots that LEAVES leads to, if it is what was signed.
        """
        if self._roots.get(head.size) == head.root:
            of = f"leaves {self._manifest.start} to {self._manifest.end - 1} of {head.size}"
            self._report.checked.append(f"{of}: each is what was signed, in its place, and none is left out")
            if self._other:
                self._find(self._other[0], f"{bundle.LEAVES} is not of these entries, which are what was signed")
        elif stored:
            if is_counted:  # else all from the first on are others
                for place in self._other[:TOLD]:
                    self._find(place, "is not the entry that was signed")
                self._report.more["entry"] = len(self._other)
            self._roots = stored  # the tree is the one that was signed, only the entries are not
        else:
            self._bracket("the checkpoint", head.size)
        self._check_heads(is_sound=self._roots.get(head.size) == head.root)

    def _stored_roots(self) -> dict[int, bytes]:
        """Those that the bundle's leaf hashes lead to; none if they are too few."""
        roots, right = self._left_and_right()
        left = self._count
        stored = islice(self._files.leaves(), left)
        while leaves := list(islice(stored, PIECE)):
            roots.append(leaves)
            left -= len(leaves)
        return {} if left else roots.finish(right)

    def _bracket(self, of: str, size: int) -> None:
        """The tree is another than was signed: between which heads that begins."""
        good, bad = self._manifest.start, min(size, self._manifest.end)
        for each in sorted(self._heads):
            if each in self._roots and each <= bad and self._manifest.start <= each:
                if self._roots[each] != self._heads[each].root:
                    bad = each
                    break
                good = each
        if good >= bad > self._manifest.start:
            self._find(None, f"what is beside the bundle's leaves leads to another root than {of} of {size}")
            return
        where = (
            "the first of them, or what comes before the bundle," if good == self._manifest.start > 0 else "one of them"
        )
        self._find(good, f"{where} is not what was signed: the entries lead to another root than {of} of {size}", bad)

    def _check_heads(self, *, is_sound: bool) -> None:
        fitting = [size for size, head in self._heads.items() if self._roots.get(size) == head.root]
        others = [size for size in self._heads if size in self._roots and size not in fitting]
        self._report.checked.append(f"{len(fitting)} signed heads fit the entries")
        if is_sound and others:
            self._find(None, f"the log signed another tree of size {min(others)} than the one that it has")

    # --- 3: records that were picked out ---

    def _check_records(self, head: Checkpoint | None, account: Account) -> None:
        proofs = self._files.proofs()
        last = self._manifest.start - 1
        for page in self._pages(self._files.lines(bundle.RECORDS)):
            proved = list(islice(proofs, page.count))
            if len(proved) < page.count:
                raise Unreadable(f"{bundle.PROOFS} has no proof for each record")
            for leaf, (place, hashes) in zip(cells(page.leaves), proved, strict=True):
                if not last < place < self._manifest.end:
                    self._find(place, "is out of order, or outside the range of the bundle")
                last = place
                self._prove(head, place, leaf, hashes)
            account.take(page, [place for place, _ in proved])
            self._take(page)
        if next(proofs, None) is not None or self._report.leaves != self._manifest.records:
            self._find(None, "there are not as many records as proofs, or as the manifest says")
        by = ", ".join(f"{name} {value}" for name, value in sorted(self._manifest.filters.items()))
        self._report.unchecked.append(f"completeness: the records were picked out ({by}), any could be left out")
        self._report.unchecked.append("chains of writers: there are other entries in between")
        if head is not None:
            self._report.checked.append(f"{self._report.leaves} records: each has a proof of its place in the log")

    def _prove(self, head: Checkpoint | None, index: int, leaf: bytes, hashes: Sequence[bytes]) -> None:
        if head is None:
            return
        try:
            merkle.verify_inclusion(leaf, index, head.size, hashes, head.root)
        except Unproven as error:
            self._find(index, f"is not the entry that was signed: {error}")

    # --- 4: what the auditor holds ---

    def _open_held(self) -> None:
        """Before the entries: who cosigned it saw the log then."""
        if self._held.checkpoint is None:
            return
        try:
            old = checkpoint.opened(self._held.checkpoint, self._trust.keys, self._trust.origin)
            self._date(old, checkpoint.cosigned(self._held.checkpoint, self._trust.witnesses))
        except BadNote as error:
            self._report.denied.append(f"the older checkpoint: {error}")
        else:
            self._old = old

    def _check_held(self, head: Checkpoint | None) -> None:
        if self._held.checkpoint is None:
            self._report.unchecked.append("whether the log was rewritten before: no older checkpoint was given")
        elif self._old is not None and self._old.size in self._roots:
            self._compare(self._old)
        elif self._old is not None and head is not None:
            self._check_consistency(head, self._old)

    def _compare(self, old: Checkpoint) -> None:
        if self._roots[old.size] == old.root:
            self._report.checked.append(f"the log continues your checkpoint of {old.size} entries")
            return
        if (signed := self._heads.get(old.size)) is not None and signed.root != old.root:
            self._find(None, f"the log signed another tree of size {old.size} than your checkpoint")
        self._heads[old.size] = old
        self._bracket("your checkpoint", old.size)

    def _check_consistency(self, head: Checkpoint, old: Checkpoint) -> None:
        """What is kept may be newer than the bundle, whose head waited for witnesses: that alone is no finding."""
        first, last = sorted((old, head), key=lambda each: each.size)
        yours = f"your checkpoint of {old.size} entries"
        given = {"hashes": []} if first.size == last.size else self._held.consistency
        if given is None or not _is_from(given, first.size, last.size):
            self._report.denied.append(f"{yours}: {_unproven(head, old)}")
            return
        one, two = (yours, "the bundle's") if old.size > head.size else ("the log", yours)
        try:
            hashes = [note.from_base64(each) for each in given["hashes"]]
            merkle.verify_consistency(first.size, first.root, last.size, last.root, hashes)
        except (Unproven, BadNote, KeyError, TypeError, AttributeError) as error:
            self._find(None, f"{one} does not continue {two}: {error}")
        else:
            self._report.checked.append(f"{one} continues {two}, by the proof given")

    # --- 5: the end ---

    def _take_in(self, account: Account) -> None:
        self._report.findings += account.findings
        self._report.denied += account.denied
        self._report.more |= {kind: count for kind, count in account.counts.items() if count > TOLD}
        counts = sorted(account.types.items(), key=lambda each: -each[1])
        self._report.checked.append(f"entries: {', '.join(f'{count} {kind}' for kind, count in counts) or 'none'}")
        if self._manifest.is_complete:
            of = f"{len(account.writers)} writers: numbers without gaps, each entry names the one before, openings"
            self._report.checked.append(f"{of}, policies, ids, times")
        if not self._seen:
            self._report.unchecked.append("times: no witness saw the log, so they are held to each other alone")
        self._report.unchecked += [f"{what} ({count})" for what, count in sorted(account.unchecked.items())]

    def _check_files(self) -> None:
        self._files.finish()
        for name in self._manifest.files:
            if name.startswith(("records.", "events.")) and name != bundle.RECORDS:
                self._report.unchecked.append(f"{name} beyond its hash: it was made from the same entries")
        named = {*self._manifest.files, bundle.MANIFEST}
        if beside := sorted(self._bundle.names - named):
            self._report.unchecked.append(f"files that the manifest does not name: {', '.join(beside)}")
        self._report.checked.append(f"{len(self._manifest.files)} files are those that the manifest names")


def _unproven(head: Checkpoint, old: Checkpoint) -> str:
    """Of which proof there is none, or one of other sizes, and what to do."""
    why = "the bundle does not reach it. Give"
    if old.size > head.size:
        why = f"the bundle is of the first {head.size}. Export again with size {old.size}, or give"
    first, last = sorted((old.size, head.size))
    return f"{why} the consistency proof from {first} to {last} (GET /v1/log/consistency?old={first}&new={last})"


def _is_from(proof: Any, old: int, new: int) -> bool:
    """Whether it is, or may be, the consistency proof that was asked for."""
    sizes = [proof.get("old"), proof.get("new")] if isinstance(proof, Mapping) else []
    return any(type(size) is not int for size in sizes) or sizes in ([], [old, new])


def _note(line: bytes) -> bytes:
    """A note that is a JSON string. BadNote."""
    try:
        given = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadNote(f"a line is no JSON: {error}") from error
    if not isinstance(given, str):
        raise BadNote("a line is no text")
    return given.encode()


def _hash(line: bytes) -> bytes:
    """ValueError if it is none in base64."""
    value = note.from_base64(line.decode())
    if len(value) != HASH:
        raise ValueError(f"a hash has {HASH} bytes")
    return value
