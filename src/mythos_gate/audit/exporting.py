"""Exporting the log: what was asked for, checked, and then the bundle, piece by piece.

Memory does not grow with what is exported. Each piece is read in a short transaction of its own, not through one
cursor: entries never change and the size is pinned, so all pieces are of one state; and a client that reads slowly
holds neither a connection nor what the database would otherwise clean up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit import bundle, cosigning, merkle, ocsf, reading, table, tree
from mythos_gate.audit.anchors import Vouching
from mythos_gate.audit.bundle import Archive, Manifest
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import timestamp
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.reading import Filters, Leaf
from mythos_gate.errors import Conflict, Invalid, NotFound
from mythos_gate.tables import log_keys

PAGE = 500  # entries that are held at once
HASHES = 65_536  # leaf hashes
MOST_CHECKPOINTS = 2_000

Reading = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
Progress = Callable[[int, int], None]  # done, of all


class Window(NamedTuple):
    """A piece of the range and the entries in it, all that are kept, or those that the filters leave."""

    start: int
    end: int
    found: list[Leaf]


class Form(Protocol):
    """A file of the bundle with the entries in a form of its own; several windows make one."""

    name: str

    def begin(self) -> bytes: ...
    def rows(self, window: Window) -> bytes: ...
    def end(self) -> bytes: ...


class Lines:
    """One line an entry."""

    def __init__(self, name: str, line: Callable[[Leaf], bytes]) -> None:
        self.name = name
        self._line = line

    def begin(self) -> bytes:
        return b""

    def rows(self, window: Window) -> bytes:
        return b"".join(map(self._line, window.found))

    def end(self) -> bytes:
        return b""


def _body_line(leaf: Leaf) -> bytes:
    return leaf.body + b"\n"


class Places(Lines):
    """One line a leaf, empty where the entry is no longer kept."""

    def rows(self, window: Window) -> bytes:
        return bundle.record_lines({leaf.index: leaf.body for leaf in window.found}, window.start, window.end)


class Csv(Lines):
    def begin(self) -> bytes:
        return table.csv_head()


class Parquet:
    name = "records.parquet"

    def __init__(self) -> None:
        self._file = table.Parquet()

    def begin(self) -> bytes:
        return self._file.take()

    def rows(self, window: Window) -> bytes:
        self._file.write_rows([table.row(leaf.index, leaf.leaf, leaf.body) for leaf in window.found])
        return self._file.take()

    def end(self) -> bytes:
        self._file.finish()
        return self._file.take()


FORMS: dict[str, Callable[[], Form]] = {
    "csv": lambda: Csv("records.csv", lambda leaf: table.csv_line(leaf.index, leaf.leaf, leaf.body)),
    "parquet": Parquet,
    "ocsf": lambda: Lines("events.ocsf.ndjson", lambda leaf: ocsf.line(leaf.index, leaf.leaf, leaf.body)),
}
FORMATS = ("ndjson", *FORMS)  # the first is in every bundle: it is what the hashes cover


@dataclass(frozen=True)
class Plan:
    """What a bundle will hold; `checkpoint` and its `note` are of the tree that everything is proved against."""

    start: int
    end: int
    checkpoint: Checkpoint
    note: bytes
    filters: Filters
    formats: tuple[str, ...]

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def logged(self) -> dict[str, Any]:
        """As the log tells of it: filters by their names alone, their values may be of a person."""
        told = {"from": self.start, "to": self.end, "size": self.checkpoint.size}
        return {**told, "formats": list(self.formats), "filters": sorted(self.filters.named)}


async def planned(
    connection: AsyncConnection,
    vouching: Vouching,
    start: int,
    end: int | None,
    size: int | None,
    filters: Filters,
    formats: Sequence[str],
) -> Plan:
    """`Invalid` or `NotFound`, before anything is sent."""
    found = await cosigning.published(connection, vouching.witnesses, vouching.quorum, end if size is None else size)
    if found is None and size is None:  # it is said how many there are
        found = await tree.published(connection)
    if found is None:
        raise NotFound("no signed head covers so many entries yet: ask again in a second, or for fewer")
    checkpoint, note = found
    last = end if end is not None else size if size is not None else checkpoint.size
    if not 0 <= start < last <= checkpoint.size:
        raise Invalid(f"from, to: a tree of {checkpoint.size} entries has no leaves {start} to {last}")
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise Invalid(f"formats: {', '.join(unknown)} is not among {', '.join(FORMATS)}")
    if "parquet" in formats and not table.has_parquet():
        raise Invalid("formats: parquet needs pyarrow where the gate runs: pip install 'mythos-gate[exports]'")
    return Plan(start, last, checkpoint, note, filters, tuple(dict.fromkeys(["ndjson", *formats])))


class Export:
    """A bundle in the making; `pieces` are the bytes of its ZIP, in order."""

    def __init__(
        self, reading: Reading, plan: Plan, signer: SignerKey, progress: Progress = lambda _, __: None
    ) -> None:
        self._reading = reading
        self._plan = plan
        self._signer = signer
        self._progress = progress
        self._records = 0

    async def pieces(self, export: str, by: str, at: datetime) -> AsyncIterator[bytes]:
        """`export` is its id in the log, `by` who wanted it and `at` when. `Conflict` if the tree has holes."""
        archive = Archive(at)
        try:
            async for _ in self._filled(archive):
                yield archive.take()
            archive.finish(bundle.signed(await self._manifest(archive, export, by, at), self._signer))
            yield archive.take()
        finally:
            archive.abandon()

    async def _filled(self, archive: Archive) -> AsyncIterator[None]:
        plan = self._plan
        archive.add(bundle.CHECKPOINT, plan.note)
        async with self._reading() as connection:
            notes = await tree.checkpoints(connection, plan.start, plan.checkpoint.size, MOST_CHECKPOINTS)
        archive.add(bundle.CHECKPOINTS, bundle.checkpoint_lines(notes))
        yield
        proving = self._proofs(archive) if plan.filters.named else self._tree(archive)
        async for _ in proving:
            yield
        records = (Lines if plan.filters.named else Places)(bundle.RECORDS, _body_line)
        for number, form in enumerate([records, *(FORMS[name]() for name in plan.formats if name in FORMS)]):
            async for _ in self._formed(archive, form, number):
                yield

    async def _formed(self, archive: Archive, form: Form, number: int) -> AsyncIterator[None]:
        plan, records = self._plan, 0
        archive.begin(form.name)
        archive.write(form.begin())
        async for window in self._windows():
            # Writing down and compressing takes milliseconds, in which others are answered.
            await asyncio.to_thread(_write, archive, form, window)
            records += len(window.found)
            self._progress(number * plan.count + window.end - plan.start, len(plan.formats) * plan.count)
            yield
        archive.write(form.end())
        archive.end()
        if form.name == bundle.RECORDS:  # months may be dropped before the other forms are made
            self._records = records

    async def _windows(self) -> AsyncIterator[Window]:
        at, end = self._plan.start, self._plan.end
        while at < end:
            async with self._reading() as connection:
                found, onward = await reading.page(connection, at, end, PAGE, self._plan.filters)
            yield Window(at, end if onward is None else onward, found)
            at = end if onward is None else onward

    async def _tree(self, archive: Archive) -> AsyncIterator[None]:
        """What proves that the range is complete."""
        plan = self._plan
        left, right = merkle.range_nodes(plan.start, plan.end, plan.checkpoint.size)
        async with self._proving() as connection:
            hashes = await tree.proof(connection, [[node] for node in [*left, *right]])
        archive.add(bundle.SUBTREES, bundle.subtree_lines(hashes))
        archive.begin(bundle.LEAVES)
        for start in range(plan.start, plan.end, HASHES):
            async with self._proving() as connection:
                leaves = await tree.leaves(connection, start, min(plan.end, start + HASHES))
            await asyncio.to_thread(archive.write, b"".join(leaves))
            yield
        archive.end()

    async def _proofs(self, archive: Archive) -> AsyncIterator[None]:
        """Of each record alone: that none is left out is not proved."""
        archive.begin(bundle.PROOFS)
        async for window in self._windows():
            groups = [merkle.inclusion_nodes(leaf.index, self._plan.checkpoint.size) for leaf in window.found]
            async with self._proving() as connection:
                proofs = await tree.proofs(connection, groups)
            for leaf, hashes in zip(window.found, proofs, strict=True):
                archive.write(bundle.proof_line(leaf.index, hashes))
            yield
        archive.end()

    @asynccontextmanager
    async def _proving(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which a hash that is not stored means that the tree was tampered with."""
        async with self._reading() as connection:
            try:
                yield connection
            except (KeyError, ValueError) as error:
                raise Conflict("the log's tiles are incomplete, which only tampering does") from error

    async def _manifest(self, archive: Archive, export: str, by: str, at: datetime) -> Manifest:
        plan = self._plan
        async with self._reading() as connection:
            rows = await connection.execute(select(log_keys).order_by(log_keys.c.created_at))
            keys = [
                {"verifier": each.verifier, "retired": each.retired_at and timestamp(each.retired_at)} for each in rows
            ]
        return Manifest(
            plan.checkpoint.origin, export, timestamp(at), by, plan.start, plan.end, plan.checkpoint.size,
            self._records, plan.filters.named, 0 if plan.filters.named else plan.count - self._records,
            dict(archive.files), keys,
        )  # fmt: skip


def _write(archive: Archive, form: Form, window: Window) -> None:
    archive.write(form.rows(window))
