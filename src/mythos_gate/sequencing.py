"""The sequencer's process: one beside the service's, or alone where the log's key must be nowhere else."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mythos_gate import db
from mythos_gate.audit import keys
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.sequencer import Sequencer
from mythos_gate.audit.signer import Signer
from mythos_gate.db import DbRole
from mythos_gate.errors import Conflict, Misconfigured, NotFound
from mythos_gate.registry import log_keys
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings


def made(settings: Settings) -> Sequencer:
    """`Misconfigured` unless there is a key to sign with."""
    url = db.role_urls(settings, [DbRole.SEQUENCER])[DbRole.SEQUENCER]
    if not _signers(settings):
        raise Misconfigured(f"no key signs the log: run `mythos-gate db upgrade`, or put one into {_folder(settings)}")
    signer = Signer(lambda: list(_signers(settings).values()), settings.origin, db.state(settings) / "signed-head")
    return Sequencer(lambda: db.connect(url, DbRole.SEQUENCER), signer, settings.origin)


def run(settings: Settings) -> None:
    """Until the process is ended."""
    asyncio.run(made(settings).run())


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
    there = [key.verifier.text for key in (*_signers(settings).values(), receipt_signer(settings)) if key is not None]

    async def work(registry: Registry) -> None:
        async with registry.engine.connect() as connection:
            new = await log_keys.unannounced(connection, there)
        for verifier in new:
            async with registry.change("log_key_added", actor) as change:
                await log_keys.announce(change, verifier)

    return work
