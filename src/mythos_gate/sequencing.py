"""The sequencer's process: one beside the service's, or alone where the log's key must be nowhere else."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from mythos_gate import db
from mythos_gate.audit import exchange, keys, timestamps, witness
from mythos_gate.audit.anchors import Anchoring, Vouching
from mythos_gate.audit.cosigning import Cosigning
from mythos_gate.audit.log import Committer, HighWater
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.sequencer import Sequencer
from mythos_gate.audit.signer import Signer
from mythos_gate.db import DbRole
from mythos_gate.errors import Conflict, Misconfigured, NotFound
from mythos_gate.registry import log_keys
from mythos_gate.registry.change import Registry
from mythos_gate.revision import Known
from mythos_gate.settings import Settings

CONNECTIONS = 3  # for whoever asks witnesses; they hold none while they wait for an answer


def made(settings: Settings) -> Sequencer:
    """`Misconfigured` unless there is a key to sign with, and all that goes on beside it can."""
    url = _urls(settings)[DbRole.SEQUENCER]
    if not _signers(settings):
        raise Misconfigured(f"no key signs the log: run `mythos-gate db upgrade`, or put one into {_folder(settings)}")
    signer = Signer(lambda: list(_signers(settings).values()), settings.origin, db.state(settings) / "signed-head")
    return Sequencer(lambda: db.connect(url, DbRole.SEQUENCER), signer, settings.origin)


def run(settings: Settings) -> None:
    """Until the process is ended."""
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    sequencer = made(settings)
    if settings.production:
        await db.refuse_owners(_urls(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sequencer.close)
        beside = await _beside(settings, lambda: sequencer.leads, stack)
        gc.collect()
        gc.freeze()  # each batch would have what was imported looked through again: a fifth of its time
        await asyncio.gather(sequencer.run(), *beside)


# --- who vouches ----------------------------------------------------------------------------------------------


def vouching(settings: Settings) -> Vouching:
    """Witnesses and the timestamp authority, as they are configured. `Misconfigured`."""
    witnesses = () if settings.witnesses is None else witness.read(settings.witnesses)
    quorum = len(witnesses) if settings.witness_quorum is None else settings.witness_quorum
    if quorum > len(witnesses):
        raise Misconfigured(f"MYTHOS_GATE_WITNESS_QUORUM is {quorum}, and there are {len(witnesses)} witnesses")
    if settings.timestamp_url is None:
        return Vouching(witnesses, quorum)
    if settings.timestamp_roots is None:
        raise Misconfigured("MYTHOS_GATE_TIMESTAMP_URL needs MYTHOS_GATE_TIMESTAMP_ROOTS: a token is checked first")
    return Vouching(witnesses, quorum, timestamps.configured(settings.timestamp_url, settings.timestamp_roots))


def _urls(settings: Settings) -> dict[DbRole, str]:
    """Anchors are entries, which the service's role writes."""
    return db.role_urls(settings, [DbRole.SEQUENCER, *([DbRole.SERVICE] if vouching(settings).witnesses else [])])


async def _beside(settings: Settings, leads: Callable[[], bool], stack: AsyncExitStack) -> Sequence[Awaitable[Any]]:
    """What goes on in the sequencer's process, each as a task of its own, so that nothing of it delays a signature."""
    chosen, urls = vouching(settings), _urls(settings)
    if not chosen.witnesses and chosen.authority is None:
        return []
    engine = db.engine(urls[DbRole.SEQUENCER], DbRole.SEQUENCER, CONNECTIONS, patience=30)
    stack.push_async_callback(engine.dispose)
    client = await stack.enter_async_context(exchange.client())
    if not chosen.witnesses:
        return [Anchoring(engine, client, chosen, None, leads).run()]
    writing = committer(settings, urls[DbRole.SERVICE], Known())
    stack.push_async_callback(writing.close)
    return [
        Cosigning(engine, client, chosen.witnesses, leads).run(),
        Anchoring(engine, client, chosen, writing.note, leads).run(),
    ]


def committer(settings: Settings, url: str, known: Known) -> Committer:
    """For a process that writes entries of its own, with the service's login."""
    return Committer(
        connect=lambda: db.connect(url, DbRole.SERVICE),
        origin=settings.origin,
        high_water=HighWater(db.state(settings) / "writers"),
        known=known,
    )


# --- keys -----------------------------------------------------------------------------------------------------


def _folder(settings: Settings) -> Path:
    return settings.log_keys or db.state(settings) / "log-keys"


def _signers(settings: Settings) -> dict[Path, SignerKey]:
    """Every key that signs, the oldest first: while one is being replaced there are two."""
    return {path: keys.read(path, settings.origin) for path in sorted(_folder(settings).glob("*.pem"))}


def _receipt_file(settings: Settings) -> Path:
    return settings.receipt_key or db.state(settings) / "receipt.pem"


def receipt_signer(settings: Settings) -> SignerKey | None:
    """The key of receipts, which every process of the service holds; None if there is none."""
    path = _receipt_file(settings)
    return keys.read(path, f"{settings.origin}/receipt") if path.is_file() else None


def verifiers(settings: Settings) -> list[str]:
    """The public halves of all keys whose files are here."""
    return [key.verifier.text for key in (*_signers(settings).values(), receipt_signer(settings)) if key is not None]


def make_keys(settings: Settings) -> None:
    """The log's first key and that of receipts, unless they are there."""
    if not _signers(settings):
        make_key(settings)
    with suppress(FileExistsError):
        keys.make(_receipt_file(settings), f"{settings.origin}/receipt")


def make_key(settings: Settings) -> str:
    """A further key that signs the log, as its verifier key."""
    path = _folder(settings) / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.pem"
    return keys.make(path, settings.origin).verifier.text


def file_of(settings: Settings, verifier: str) -> Path:
    """The file of a key that is not the last. `NotFound`, `Conflict`."""
    found = {key.verifier.text: path for path, key in _signers(settings).items()}
    if verifier not in found:
        raise NotFound(f"no such key in {_folder(settings)}: `mythos-gate log keys` shows the verifier keys")
    if len(found) == 1:
        raise Conflict("it is the last key: make another one first with `mythos-gate log add-key`")
    return found[verifier]


def announce(settings: Settings, actor: str) -> Callable[[Registry], Awaitable[None]]:
    """Work that names every key in the log that it does not name yet."""
    there = verifiers(settings)

    async def work(registry: Registry) -> None:
        async with registry.engine.connect() as connection:
            new = await log_keys.unannounced(connection, there)
        for verifier in new:
            async with registry.change("log_key_added", actor) as change:
                await log_keys.announce(change, verifier)

    return work
