"""`mythos-gate log export`: a bundle into a file, written by the reader's role and recorded in the log."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from mythos_gate import db, sequencing
from mythos_gate.audit import exporting
from mythos_gate.audit.exporting import Export, Progress
from mythos_gate.audit.log import Committer
from mythos_gate.audit.reading import Filters
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured
from mythos_gate.registry.change import Registry
from mythos_gate.revision import Known
from mythos_gate.settings import Settings
from mythos_gate.terminal import allowed
from mythos_gate.terms import Permission


@dataclass(frozen=True)
class Wanted:
    start: int
    end: int | None
    size: int | None
    filters: Filters
    formats: Sequence[str]


async def write(settings: Settings, key: str, wanted: Wanted, target: Path, progress: Progress) -> exporting.Plan:
    """The whole bundle, or no file of this name: until it is complete it is called `.part`."""
    signer = sequencing.receipt_signer(settings)
    if signer is None:
        raise Misconfigured("no key signs exports: run `mythos-gate db upgrade`")
    urls = db.role_urls(settings)
    caller = await caller_of(settings, urls[DbRole.COMPLIANCE], key)
    reader = db.engine(urls[DbRole.READER], DbRole.READER, pool_size=2)
    export, at = str(uuid4()), datetime.now(UTC)
    try:
        async with reader.connect() as connection:
            plan = await exporting.planned(
                connection,
                sequencing.vouching(settings),
                wanted.start,
                wanted.end,
                wanted.size,
                wanted.filters,
                wanted.formats,
            )
        async with writing(settings, urls[DbRole.SERVICE]) as log:
            await log.note("log_exported", {"actor": caller.id, "export": export, **plan.logged})
        pieces = Export(reader.connect, plan, signer, progress).pieces(export, caller.id, at)
        await _save(pieces, target)
    finally:
        await reader.dispose()
    return plan


async def caller_of(settings: Settings, url: str, key: str) -> Caller:
    engine = db.engine(url, DbRole.COMPLIANCE, pool_size=1)
    try:
        return await allowed(Registry(engine, settings.origin), key, Permission.READ_LOG)
    finally:
        await engine.dispose()


@asynccontextmanager
async def writing(settings: Settings, url: str) -> AsyncIterator[Committer]:
    """A writer of this process's own."""
    made = sequencing.committer(settings, url, Known())
    try:
        yield made
    finally:
        await made.close()


async def _save(pieces: AsyncIterator[bytes], target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        async for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    part.rename(target)
