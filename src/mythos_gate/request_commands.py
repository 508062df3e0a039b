"""The command line's change requests: what one officer asks for, and another approves."""

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from mythos_gate.registry import change_requests
from mythos_gate.registry.change import Registry
from mythos_gate.registry.change_requests import Decision
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.widening import Wanted
from mythos_gate.settings import Settings
from mythos_gate.terminal import Key, authenticated, told, with_registry
from mythos_gate.terms import RequestState

app = typer.Typer(no_args_is_help=True, help="Change requests: a second officer approves what widens access.")
Identifier = Annotated[str, typer.Argument(metavar="ID", help="as `requests list` shows it")]


async def writer(registry: Registry, key: str) -> Writer:
    """Whose key it is. `NotAuthenticated`."""
    found, permissions = await authenticated(registry, key)
    now, patience = datetime.now(UTC), timedelta(days=Settings().change_request_days)
    return Writer(found, lambda permission: permissions.has(found, permission), now, now + patience)


async def made(registry: Registry, key: str, wanted: Wanted) -> dict[str, Any]:
    """The request, as everybody may read it. `NotPermitted`."""
    by = await writer(registry, key)
    async with registry.change("change_requested", by.caller.id) as change:
        return await change_requests.request(change, wanted, by)


async def request(registry: Registry, key: str, wanted: Wanted) -> str:
    """`ID SHA256`, as `approve` takes them. `NotPermitted`."""
    found = await made(registry, key, wanted)
    return f"{found['id']} {found['sha256']}"


@app.command("list")
def list_requests(
    key: Key, state: Annotated[RequestState, typer.Option(help="those in this state")] = RequestState.REQUESTED
) -> None:
    """One line each: id, hash, state, what it is about."""

    async def work(registry: Registry) -> list[dict[str, Any]]:
        by = await writer(registry, key)
        async with registry.engine.connect() as connection:
            return list(await change_requests.page(connection, state, None, 10_000, by))

    with told():
        for each in with_registry(Settings(), work):
            about = f"{each['action']} {each['resource']} {each['reference'] or ''}".rstrip()
            typer.echo(f"{each['id']} {each['sha256']} {each['state']} until {each['expires_at'][:16]}Z: {about}")


@app.command()
def show(
    identifier: Identifier,
    key: Key,
    files: Annotated[Path | None, typer.Option(file_okay=False, help="write the files to import here")] = None,
) -> None:
    """All of one: what would change, before and after. What it says of nationality is not among it, but in the files.

    Who may approve an import has its files written out, and the log tells.
    """

    async def work(registry: Registry) -> dict[str, Any]:
        by = await writer(registry, key)
        if files is not None:
            async with registry.change("files_read", by.caller.id) as change:
                found = await change_requests.read_files(change, identifier, by)
            _write(files, found)
        async with registry.engine.connect() as connection:
            return await change_requests.read(connection, identifier, by)

    with told():
        typer.echo(json.dumps(with_registry(Settings(), work), indent=2))


def _write(folder: Path, files: list[dict[str, str]]) -> None:
    """As `import FOLDER` takes them: `people.csv`, `people-2.csv`, for their owner alone; none is overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen: Counter[str] = Counter()
    for file in files:
        kind = file["kind"]
        seen[kind] += 1
        path = folder / (f"{kind}.csv" if seen[kind] == 1 else f"{kind}-{seen[kind]}.csv")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(file["text"].encode())


def _decide(key: str, kind: str, step: Callable[[Any, Writer], Awaitable[dict[str, Any]]]) -> None:
    async def work(registry: Registry) -> dict[str, Any]:
        by = await writer(registry, key)
        async with registry.change(kind, by.caller.id) as change:
            return await step(change, by)

    with told():
        done = with_registry(Settings(), work)
    typer.echo(f"{done['id']} is {done['state']}")


@app.command()
def approve(
    identifier: Identifier,
    sha256: Annotated[str, typer.Argument(help="of the request, as it was shown")],
    key: Key,
    reason: Annotated[str | None, typer.Option(help="stays with the record")] = None,
) -> None:
    """Put into force what somebody else requested."""
    decision = Decision(sha256, reason)
    _decide(key, "change_approved", lambda change, by: change_requests.approve(change, identifier, decision, by))


@app.command()
def reject(
    identifier: Identifier, reason: Annotated[str, typer.Option(help="stays with the record")], key: Key
) -> None:
    """Refuse what somebody else requested."""
    if not reason.strip():
        raise typer.BadParameter("say why")
    _decide(key, "change_rejected", lambda change, by: change_requests.reject(change, identifier, reason, by))


@app.command()
def withdraw(identifier: Identifier, key: Key) -> None:
    """Take back what you requested."""
    _decide(key, "change_withdrawn", lambda change, by: change_requests.withdraw(change, identifier, by))
