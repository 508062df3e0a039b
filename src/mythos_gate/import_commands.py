"""The command line's imports: requested by one officer, done when another approves; at once in the demo's database."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from mythos_gate import generate, request_commands
from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Invalid, NotPermitted
from mythos_gate.registry import files, imports, jurisdictions, officers
from mythos_gate.registry.change import Change, Registry
from mythos_gate.registry.imports import Summary
from mythos_gate.registry.widening import Wanted
from mythos_gate.settings import Settings
from mythos_gate.terminal import allowed, progress_bar
from mythos_gate.terms import Permission, RequestedAction


@dataclass(frozen=True, slots=True)
class Batch:
    """Kinds and files, in the order of reference."""

    files: Sequence[tuple[str, Path]]
    dry_run: bool
    relative: bool


def listed(what: str, file: Path | None) -> list[tuple[str, Path]]:
    """The file of this kind, or all of this folder in the order of reference. `Invalid` if there are none."""
    if file is not None:
        return [(what, file)]
    if not Path(what).is_dir():
        raise Invalid(f"'{what}' is no folder: give KIND FILE, or a folder with {', '.join(imports.KINDS)}.csv")
    if not (found := list(generate.kinds(Path(what), imports.KINDS))):
        raise Invalid(f"{what}: none of the files {', '.join(imports.KINDS)}.csv is there")
    return found


async def batch(registry: Registry, key: str, given: Batch) -> str | None:
    """`ID SHA256` of the request, unless it is done at once or only tried. `TooLarge`, `NotPermitted`."""
    caller = await allowed(registry, key, Permission.IMPORT)
    if await _is_demo(registry):
        await _load(registry, caller.id, given)
        return None
    if given.relative:
        raise NotPermitted("times like now+90d are for the demo's database: give those that are meant")
    apart = files.apart([(kind, path.read_bytes()) for kind, path in given.files], Settings().import_limit)
    if given.dry_run:
        await _load(registry, caller.id, given)
        return None
    kinds = list(dict.fromkeys(kind for kind, _ in given.files))
    wanted = Wanted(RequestedAction.IMPORT, "files", members={"kinds": kinds}, apart=apart)
    made = await request_commands.made(registry, key, wanted)
    for kind in kinds:
        _tell(f"{kind}: would be", **made["after"][kind])
    return f"{made['id']} {made['sha256']}"


async def _is_demo(registry: Registry) -> bool:
    async with registry.engine.connect() as connection:
        return await officers.is_demo(connection)


def _tell(about: str, *, created: int, updated: int, unchanged: int) -> None:
    typer.echo(f"{about} {created} created, {updated} updated, {unchanged} unchanged", err=True)


def _say(summary: Summary, *, dry_run: bool) -> None:
    told = f"{summary.created} created, {summary.updated} updated, {summary.unchanged} unchanged"
    typer.echo(f"{summary.rows} {summary.kind}: {f'would be {told}' if dry_run else told}")


async def _load(registry: Registry, actor: str, given: Batch) -> None:
    """Each file in a transaction of its own; a dry run all of them in one that is undone: they build on each other."""
    with progress_bar() as bar:

        async def load(change: Change, kind: str, path: Path) -> None:
            task = bar.add_task(path.name, total=None)
            summary = await imports.load(
                change,
                kind,
                await asyncio.to_thread(path.read_bytes),
                now=datetime.now(UTC),
                relative=given.relative,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
            bar.remove_task(task)
            _say(summary, dry_run=given.dry_run)

        if given.dry_run:
            async with registry.change("imported", actor, dry=True) as change:
                for kind, path in given.files:
                    await load(change, kind, path)
            return
        for kind, path in given.files:
            async with registry.change("imported", actor) as change:
                await load(change, kind, path)


# --- jurisdictions --------------------------------------------------------------------------------------------

UNREVIEWED = "the data set is not reviewed, so every request is denied: import it again with --reviewed-at"
UNUSED = "the data set is on record and not in force: import it again with --reviewed-at"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A version of the jurisdictions; not reviewed, it is not put in force."""

    data: bytes
    version: str
    reviewed_at: datetime | None
    dry_run: bool


async def data_set(registry: Registry, key: str, given: DataSet) -> str | None:
    """Keep it, and request that it be in force: `ID SHA256`, unless that is done at once, or it is not reviewed."""
    caller = await allowed(registry, key, Permission.IMPORT)
    if await _is_demo(registry) or given.dry_run:
        async with registry.change("imported", caller.id, dry=given.dry_run) as change:
            summary = await jurisdictions.load_data_set(
                change, given.data, version=given.version, reviewed_at=given.reviewed_at
            )
        _say(summary, dry_run=given.dry_run)
        if given.reviewed_at is None:
            typer.echo(UNREVIEWED, err=True)
        return None
    if given.reviewed_at is not None and given.reviewed_at > datetime.now(UTC):
        raise Invalid("--reviewed-at is still to come: give the time of the review")
    identifier = await _kept(registry, caller.id, given)
    if given.reviewed_at is None:
        typer.echo(UNUSED, err=True)
        return None
    members = {"reviewed_at": timestamp(given.reviewed_at)}
    return await request_commands.request(
        registry, key, Wanted(RequestedAction.ACTIVATE, "data_sets", identifier, members)
    )


async def _kept(registry: Registry, actor: str, given: DataSet) -> str:
    """Its id; it is on record then."""
    identifier = jurisdictions.identify(given.data)
    async with registry.engine.connect() as connection:
        known = await jurisdictions.page(connection, only=identifier)
    if not known:
        async with registry.change("data_set_imported", actor) as change:
            await jurisdictions.prepare(change, given.data, given.version)
    return identifier
