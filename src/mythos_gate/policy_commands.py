"""`mythos-gate policy`: test, check and prove a policy, tell two apart, and put one in force."""

import re
from pathlib import Path
from typing import Annotated

import typer

from mythos_gate import request_commands
from mythos_gate.analysis import checks, difference, proofs
from mythos_gate.authn.api_keys import Caller
from mythos_gate.decision import cases, catalogue
from mythos_gate.decision.policy import Policy, Row, read_files
from mythos_gate.errors import Invalid
from mythos_gate.registry import officers, policies
from mythos_gate.registry.change import Registry
from mythos_gate.registry.widening import Wanted
from mythos_gate.settings import Settings, root
from mythos_gate.terminal import Key, allowed, told, with_registry
from mythos_gate.terms import Permission, RequestedAction

app = typer.Typer(no_args_is_help=True, help="The decision policy.")
PolicyFolder = Annotated[Path, typer.Option("--policy", exists=True, file_okay=False)]
BASELINE = root() / "policies"
SHA256 = re.compile(r"[0-9a-f]{64}")


# --- trying it out --------------------------------------------------------------------------------------------


@app.command("test")
def run_cases(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    folder: PolicyFolder = BASELINE,
) -> None:
    """Run policy cases through the product's records and facts, without a database."""
    passed = failed = 0
    with told():
        tested = Policy(read_files(folder))
        atlas = folder if (folder / "jurisdictions.csv").is_file() else BASELINE
        known = cases.read_jurisdictions((atlas / "jurisdictions.csv").read_text(encoding="utf-8"))
        for file in files:
            try:
                for result in cases.run(cases.read(file.read_text(encoding="utf-8")), tested, known):
                    passed, failed = passed + (not result.differences), failed + bool(result.differences)
                    if result.differences:
                        _show_failure(result)
            except Invalid as error:
                raise Invalid(f"{file}: {error}") from error
    typer.echo(f"{passed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)


def _show_failure(result: cases.Result) -> None:
    typer.echo(f"FAILED {result.scenario.id} {result.scenario.title}")
    for name, (expected, got) in result.differences.items():
        typer.echo(f"  {name}: expected {expected}, got {got}")
    typer.echo("  facts: " + ", ".join(f"{fact}={value}" for fact, value in result.vector.items()))


@app.command("reasons")
def show_reasons(folder: PolicyFolder = BASELINE) -> None:
    """The catalogue of reasons as a page in Markdown."""
    with told():
        typer.echo(catalogue.page(read_files(folder)), nl=False)


# --- what is wrong with it ------------------------------------------------------------------------------------


@app.command()
def check(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)] = BASELINE) -> None:
    """Look for rows that do nothing, run the product's policy cases, and prove its standing invariants."""
    with told():
        checked = checks.run(read_files(folder))
    for finding in checked.findings:
        typer.echo(f"FOUND {finding.message}")
    held = sum(proof.holds for proof in checked.proofs)
    typer.echo(
        f"findings: {len(checked.findings)}; cases: {checked.cases_passed} passed, {checked.cases_failed} failed;"
        f" invariants: {held} of {len(checked.proofs)} hold"
    )
    raise typer.Exit(0 if checked.passed else 1)


@app.command()
def prove(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)] = BASELINE,
    invariants: Annotated[Path, typer.Option(exists=True, dir_okay=False)] = BASELINE / proofs.FILE,
) -> None:
    """Prove what a policy must never allow, over all facts that there can be. Exit code 1 if something is broken."""
    with told():
        proven = proofs.prove(Policy(read_files(folder)), proofs.read(invariants.read_text(encoding="utf-8")))
    for proof in proven:
        typer.echo(proof.told)
    broken = sum(not proof.holds for proof in proven)
    typer.echo(f"{len(proven) - broken} hold, {broken} broken")
    raise typer.Exit(1 if broken else 0)


# --- what tells two apart -------------------------------------------------------------------------------------


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="a folder, or the SHA-256 of a policy on record")],
    after: Annotated[str, typer.Argument(help="the same")],
    semantic: Annotated[bool, typer.Option("--semantic", help="compare the answers to all facts")] = False,
    key: Annotated[str | None, typer.Option("--key", envvar="MYTHOS_GATE_KEY", show_default=False)] = None,
) -> None:
    """What tells two policies apart: row by row; or whether the second is stricter, looser, both or equal."""
    with told():
        first, second = (Policy(_files(which, key)) for which in (before, after))
        compared = difference.compare(first, second) if semantic else None
    if compared is None:
        for row in difference.rows(first, second):
            for sign, side in (("-", row.before), ("+", row.after)):
                if side is not None:
                    typer.echo(f"{sign} {_line(side)}")
    else:
        typer.echo(compared.verdict)
        for example in compared.examples:
            typer.echo(f"  {example.told}")
    for limit in difference.limits(first.thresholds, second.thresholds):
        typer.echo(f"threshold {limit}")


def _line(row: Row) -> str:
    return f"{row.row}: {row.disposition} {row.reason} ({row.tier}, {row.priority}) where {row.when}" + (
        ", unless a break-glass is active" if row.bypassable else ""
    )


def _files(which: str, key: str | None) -> dict[str, str]:
    """Of a folder, or of a policy on record."""
    if SHA256.fullmatch(which) is None:
        return read_files(Path(which))
    if key is None:
        raise Invalid("a policy on record is read with your API key: give --key")

    async def work(registry: Registry) -> dict[str, str]:
        await allowed(registry, key, Permission.READ_PROGRAMME)
        async with registry.engine.connect() as connection:
            return dict((await policies.read(connection, which))["files"])

    return with_registry(Settings(), work)


# --- to files and back ----------------------------------------------------------------------------------------


@app.command("export")
def export_policy(
    which: Annotated[str, typer.Argument(help="the SHA-256 of a policy on record")],
    folder: Annotated[Path, typer.Argument(file_okay=False)],
    key: Key,
) -> None:
    """Write the files of a policy on record into a new folder, to be edited and reviewed."""
    with told():
        files = _files(which, key)
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    typer.echo(f"{len(files)} files in {folder}")


@app.command("import")
def import_policy(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    key: Key,
    reason: Annotated[str | None, typer.Option(help="why, for whoever decides about it")] = None,
) -> None:
    """Keep the files of a folder as a draft; nothing changes before it is activated."""

    async def work(registry: Registry) -> str:
        caller = await allowed(registry, key, Permission.ACTIVATE_POLICY)
        files = read_files(folder)
        built = Policy(files)
        await _store(registry, caller, built.sha256, files, reason)
        return built.sha256

    with told():
        typer.echo(with_registry(Settings(), work))


async def _store(
    registry: Registry, caller: Caller, sha256: str, files: dict[str, str], reason: str | None = None
) -> None:
    async with registry.change("policy_stored", caller.id) as change:
        await policies.store(change, sha256, files, reason)


# --- putting it in force --------------------------------------------------------------------------------------


@app.command()
def activate(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)], key: Key) -> None:
    """Request to put a policy in force, once it is validated and built. In the demo's database it is at once."""

    async def work(registry: Registry) -> str:
        found = await allowed(registry, key, Permission.ACTIVATE_POLICY)
        files = read_files(folder)
        built = Policy(files)
        async with registry.engine.connect() as connection:
            demo, known = await officers.is_demo(connection), await policies.page(connection, only=built.sha256)
        if demo:
            async with registry.change("policy_activated", found.id) as change:
                return f"policy revision {await policies.activate(change, built.sha256, files)} is active"
        if not known:
            await _store(registry, found, built.sha256, files)
        wanted = Wanted(RequestedAction.ACTIVATE, "policies", built.sha256)
        return await request_commands.request(registry, key, wanted)

    with told():
        typer.echo(with_registry(Settings(), work))
