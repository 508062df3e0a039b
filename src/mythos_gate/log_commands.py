"""`mythos-gate log`: the log's keys, its sequencer where it runs alone, exports, and verifying them offline."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from mythos_gate import export_command, replay_command, sequencing
from mythos_gate.audit import tlogproof
from mythos_gate.audit.bundle import Bundle, Unreadable
from mythos_gate.audit.chains import Finding
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.exporting import FORMATS
from mythos_gate.audit.merkle import Unproven
from mythos_gate.audit.note import BadNote, VerifierKey
from mythos_gate.audit.page import Page
from mythos_gate.audit.reading import Filters
from mythos_gate.audit.receipt import SUFFIX as RECEIPTS
from mythos_gate.audit.report import Held, Report, Trust
from mythos_gate.audit.tlogproof import BadProof, Proof
from mythos_gate.audit.verify import Mapper, verify
from mythos_gate.export_command import Wanted
from mythos_gate.registry import log_keys
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings
from mythos_gate.terminal import LOCAL, Key, progress_bar, told, with_registry

app = typer.Typer(no_args_is_help=True, help="The log: its tree, keys and proofs.")
MANY = 20_000  # entries for which further processes are worth their start
AHEAD = 16  # pieces


@app.command("sequence")
def sequence() -> None:
    """Take entries into the tree and sign its heads, until stopped; `serve` does it too, unless --no-sequencer."""
    with told():
        sequencing.run(Settings())


@app.command("keys")
def list_keys() -> None:
    """List the public keys of the log, for whoever verifies; behind a # those whose private halves are not here.

    The list is the database's, and whoever has that could put a key of their own there: only a file vouches for a key.
    """

    async def work(registry: Registry) -> list[dict[str, Any]]:
        async with registry.engine.connect() as connection:
            return await log_keys.page(connection)

    with told():
        settings = Settings()
        own = sequencing.verifiers(settings)
        for key in with_registry(settings, work):
            until = f", until {key['retired']}" if key["retired"] else ""
            line = f"{key['verifier']}  since {key['created']}{until}"
            typer.echo(line if key["verifier"] in own else f"# {line}: no file of it here, so only if you know it")


@app.command("add-key")
def add_key() -> None:
    """Make a further key that signs the log from now on, and announce it in the log: the first half of a rotation."""
    with told():
        settings = Settings()
        made = sequencing.make_key(settings)
        with_registry(settings, sequencing.announce(settings, LOCAL))
    typer.echo(made)


@app.command("retire-key")
def retire_key(verifier: Annotated[str, typer.Argument(help="as `log keys` shows it")]) -> None:
    """End a key: its file is deleted, which the log announces. There must be another one."""

    async def work(registry: Registry) -> None:
        async with registry.change("log_key_retired", LOCAL) as change:
            await log_keys.retire(change, verifier)

    with told():
        settings = Settings()
        path = sequencing.file_of(settings, verifier)
        with_registry(settings, work)
        path.unlink()
    typer.echo(f"{verifier} signs no more")


# --- exports --------------------------------------------------------------------------------------------------


@app.command("export")
def export_log(  # noqa: PLR0917  one option each
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", dir_okay=False)],
    key: Key,
    start: Annotated[int, typer.Option("--from", min=0, help="the first leaf")] = 0,
    end: Annotated[int | None, typer.Option("--to", min=1, help="the leaf after the last; all if left out")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="of the tree, if not the newest signed one")] = None,
    formats: Annotated[str, typer.Option("--format", help=f"of {','.join(FORMATS)}: besides ndjson")] = "ndjson",
    since: Annotated[datetime | None, typer.Option(help="UTC; a filter")] = None,
    until: Annotated[datetime | None, typer.Option(help="UTC; a filter")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="of entries; a filter")] = None,
    organization: Annotated[str | None, typer.Option(help="the gate's id; a filter")] = None,
    subject: Annotated[str | None, typer.Option(help="the gate's id, or a digest; a filter")] = None,
    decision: Annotated[str | None, typer.Option(help="allow, allow_break_glass, deny or hold; a filter")] = None,
    reason: Annotated[str | None, typer.Option(help="a code; a filter")] = None,
    caller: Annotated[str | None, typer.Option(help="who asked, or changed something; a filter")] = None,
) -> None:
    """Write entries and all that proves them into a bundle, which the log records.

    With a filter each record is proved, and not that none is left out.
    """
    since, until = since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC)
    filters = Filters(type_, since, until, organization, subject, decision, reason, caller)
    wanted = Wanted(start, end, size, filters, formats.split(","))
    with told(), progress_bar() as bar:
        task = bar.add_task(out.name, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        plan = asyncio.run(export_command.write(Settings(), key, wanted, out, progress))
    complete = "each record is proved, not that none is left out" if filters.named else "provably complete"
    typer.echo(f"{out}: leaves {plan.start} to {plan.end - 1} of {plan.checkpoint.size}, {complete}")


# --- replay ---------------------------------------------------------------------------------------------------

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"]
Since = Annotated[datetime | None, typer.Option("--since", formats=TIMES, metavar="TIME", help="UTC; from then on")]
Until = Annotated[datetime | None, typer.Option("--until", formats=TIMES, metavar="TIME", help="UTC; before then")]


@app.command("replay")
def replay_log(key: Key, since: Since = None, until: Until = None) -> None:
    """Decide again what was decided, from the facts and the policy that were recorded. Exit code 1 if any differs."""
    since, until = since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC)
    with told(), progress_bar() as bar:
        task = bar.add_task("entries", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        replayed = asyncio.run(replay_command.run(Settings(), key, since, until, progress))
    for finding in replayed.findings:
        typer.echo(f"{finding.id} {finding.what}")
    typer.echo(f"{replayed.decisions} decided again, {len(replayed.findings)} differ")
    raise typer.Exit(1 if replayed.findings else 0)


# --- verification: no database, no network --------------------------------------------------------------------

Verifier = Annotated[
    list[str],
    typer.Option("--key", help="the log's verifier key, or a file with those of `log keys`; never from the bundle"),
]


@app.command("verify")
def verify_bundle(  # noqa: PLR0917  one option each
    given: Annotated[Path, typer.Argument(metavar="BUNDLE", exists=True, help="the ZIP, or its folder")],
    key: Verifier,
    older: Annotated[Path | None, typer.Option("--checkpoint", help="one that you kept", dir_okay=False)] = None,
    consistency: Annotated[Path | None, typer.Option(help="from it, if the bundle does not reach it")] = None,
    witness: Annotated[list[str] | None, typer.Option(help="a witness's verifier key, or a file of them")] = None,
    quorum: Annotated[int, typer.Option(min=0, help="so many witnesses must have cosigned")] = 0,
    receipt: Annotated[list[Path] | None, typer.Option(help="a receipt that somebody kept", dir_okay=False)] = None,
    high_water: Annotated[list[Path] | None, typer.Option(help="writers/*.json of a gate's host")] = None,
    tolerance: Annotated[int, typer.Option(min=0, help="seconds that times may be off")] = 300,
    pruned_until: Annotated[int, typer.Option(min=0, help="leaves below need not be kept any more")] = 0,
) -> None:
    """Verify a bundle offline: that nothing was altered, removed, reordered, inserted or back-dated.

    Exit code 0: verified; 1: something was found; 2: it, or something that you gave, could not be checked.
    """
    started = time.perf_counter()
    with unreadable():
        logs, receipts = _sorted_keys(key)
        trust = Trust(logs, receipts, _keys(witness or []), quorum)
        marks = {each: _high_water(each) for each in high_water or []}
        held = Held(
            None if older is None else older.read_bytes(),
            None if consistency is None else json.loads(consistency.read_bytes()),
            [each.read_bytes() for each in receipt or []],
            [mark for mark in marks.values() if mark is not None],
        )
        report = _watched(given, trust, held, timedelta(seconds=tolerance), pruned_until)
    report.unchecked += [f"{each} is empty: no entry was confirmed yet" for each, mark in marks.items() if mark is None]
    _show(report, time.perf_counter() - started)
    raise typer.Exit(report.exit_code)


def _high_water(path: Path) -> dict[str, Any] | None:
    """With when it was written last, or copied: by then its entry was in the log. ValueError if it is none.

    None if it is empty: a process makes it when it starts, and writes it once an entry is confirmed.
    """
    at, given = path.stat().st_mtime_ns // 1000, path.read_bytes()
    if not given.strip():
        return None
    try:
        return {**_mark(given), "at": at}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no high-water file: {error!r}") from error


def _mark(given: bytes) -> dict[str, Any]:
    known = json.loads(given)
    bytes.fromhex(known["leaf"])
    if (type(known["writer"]), type(known["n"])) != (str, int):
        raise ValueError("writer and n are a text and a whole number")
    return dict(known)


def _watched(given: Path, trust: Trust, held: Held, tolerance: timedelta, pruned: int) -> Report:
    with ExitStack() as stack:
        opened = stack.enter_context(closing(Bundle(given)))
        count = opened.manifest()[0].records
        mapping: Mapper = map
        if count >= MANY:  # the processes first: they must not be copies of one that has threads
            mapping = shared(stack.enter_context(ProcessPoolExecutor()))
        bar = stack.enter_context(progress_bar())
        task = bar.add_task(given.name, total=count)
        return verify(opened, trust, held, tolerance, pruned, lambda done: bar.update(task, completed=done), mapping)


def shared(pool: ProcessPoolExecutor) -> Mapper:
    """The builtin `map`, on all processors, a few pieces ahead."""
    pool.submit(int).result()

    def mapping(work: Callable[[list[bytes]], Page], pieces: Iterable[list[bytes]]) -> Iterator[Page]:
        waiting: deque[Future[Page]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    return mapping


def _show(report: Report, seconds: float) -> None:
    for word, lines in (
        ("checked", report.checked),
        ("not checked", report.unchecked),
        ("NOT POSSIBLE", report.denied),
    ):
        for line in lines:
            typer.echo(f"{word:12} {line}")
    for finding in sorted(report.findings, key=lambda each: (each.place is None, each.place or 0)):
        typer.echo(f"{'FOUND':12} {_placed(finding)}{finding.what}")
    for kind, count in report.more.items():
        typer.echo(f"{'FOUND':12} {count} findings of the kind {kind} in all")
    rate = f"{report.leaves} entries in {seconds:.1f} s, {report.leaves / max(seconds, 1e-9):,.0f} a second"
    typer.echo(f"{'':12} {rate}")
    if report.first is not None:
        typer.echo(f"FAILED       the first bad one: {_placed(report.first).rstrip(' :')}")
    elif report.findings:
        typer.echo("FAILED")
    else:
        typer.echo(f"{'NOT VERIFIED' if report.denied else 'VERIFIED':12} {report.extent}")


def _placed(finding: Finding) -> str:
    if finding.place is None:
        return ""
    if finding.end is None:
        return f"leaf {finding.place}: "
    return f"leaves {finding.place} to {finding.end - 1}: "


@app.command("verify-proof")
def verify_proof(
    given: Annotated[Path, typer.Argument(metavar="PROOF", exists=True, dir_okay=False)],
    entry: Annotated[Path, typer.Option(help="the entry's bytes, as `stored` has them", exists=True, dir_okay=False)],
    key: Verifier,
    witness: Annotated[list[str] | None, typer.Option(help="a witness's verifier key, or a file of them")] = None,
    quorum: Annotated[int, typer.Option(min=0, help="so many witnesses must have cosigned")] = 0,
) -> None:
    """Verify offline that an entry is in the log, by a proof that the gate gave out. Exit codes as of `verify`."""
    with unreadable():
        logs, _ = _sorted_keys(key)
        trust = Trust(logs, (), _keys(witness or []), quorum)
        proof = Proof.parse(given.read_bytes())
        body = entry.read_bytes()
    try:
        found = tlogproof.verify(proof, leaf_hash(body), trust.keys, trust.origin, trust.witnesses, quorum)
    except (BadNote, Unproven) as error:
        typer.echo(f"FAILED       {error}")
        raise typer.Exit(1) from error
    typer.echo(f"VERIFIED     the entry is leaf {proof.index} of the {found.size} entries of {found.origin}")


@contextmanager
def unreadable() -> Iterator[None]:
    """What cannot be read is no finding: exit code 2."""
    try:
        yield
    except (Unreadable, BadNote, BadProof, OSError, ValueError, KeyError, TypeError) as error:
        typer.echo(f"mythos-gate: {error}", err=True)
        raise typer.Exit(2) from error


def _keys(given: list[str]) -> list[VerifierKey]:
    """Verifier keys, each as it is or a file whose lines begin with one."""
    lines = [
        line for each in given for line in (Path(each).read_text().splitlines() if Path(each).is_file() else [each])
    ]
    return [VerifierKey.parse(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def _sorted_keys(given: list[str]) -> tuple[list[VerifierKey], list[VerifierKey]]:
    """Those of checkpoints and those of receipts."""
    found = _keys(given)
    receipts = [each for each in found if each.name.endswith(RECEIPTS)]
    return [each for each in found if each not in receipts], receipts
