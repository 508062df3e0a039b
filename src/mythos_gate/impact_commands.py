"""`mythos-gate policy impact` and `traffic`: whom a draft would concern, of those on record and of those who asked."""

import asyncio
import gc
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from mythos_gate import db
from mythos_gate.analysis import impact, traffic
from mythos_gate.analysis.impact import KINDS, Draft, Impact, Simulation
from mythos_gate.analysis.traffic import Traffic
from mythos_gate.db import DbRole
from mythos_gate.decision import facts, library
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.errors import Invalid, NotFound
from mythos_gate.export_command import writing
from mythos_gate.log_commands import Since, Until
from mythos_gate.registry import jurisdictions
from mythos_gate.registry.grants import GRANTS
from mythos_gate.registry.kind import Bad, Clock
from mythos_gate.settings import Settings
from mythos_gate.terminal import Key, allowed, progress_bar, told, with_registry
from mythos_gate.terms import Permission

Json = Annotated[Path | None, typer.Option("--json", help="write the whole reports, people included, into a new file")]
# Of a grant what decisions look at; whose it is does not change.
MEMBERS = facts.Grant.__dataclass_fields__.keys() & GRANTS.columns.keys() - {"authority", "reference"}


@dataclass(frozen=True, slots=True)
class Report:
    """`about`: what it is of, by name."""

    about: dict[str, Any]
    figures: dict[str, Any]
    apart: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of its JSON, with sorted keys and no spaces."""
        return sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def named(self) -> dict[str, str]:
        return {"report_sha256": self.digest}


def register(app: typer.Typer) -> None:
    app.command("impact")(show_impact)
    app.command("traffic")(show_traffic)


# --- who is on record -----------------------------------------------------------------------------------------


def show_impact(
    key: Key,
    folders: Annotated[list[Path] | None, typer.Argument(exists=True, file_okay=False, help="policies")] = None,
    data_set: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="jurisdictions, as CSV")] = None,
    grant: Annotated[
        list[str] | None, typer.Option(metavar="'ID MEMBER=VALUE ...'", help="as in a file; may be given again")
    ] = None,
    report: Json = None,
) -> None:
    """Ask the standing requests of everybody on record, as things stand and by each of these policies.

    What is given of the data set and of grants belongs to each draft, and can be one without a policy.
    """
    with told():
        drafts = _drafts(folders or [], data_set, grant or [])
        actor = _allowed(key)
        with progress_bar() as bar:
            found = _impacts([draft for _, draft in drafts], bar)
        reports = [Report(about, each.figures, each.apart) for (about, _), each in zip(drafts, found, strict=True)]
        _note("policies_simulated", {"actor": actor, "drafts": [each.about | each.named for each in reports]})
        for name, each in zip(folders or [Path("draft")], reports, strict=True):
            _show_impact(str(name), each)
        _write(reports, report)


def _drafts(folders: Sequence[Path], data_set: Path | None, given: Sequence[str]) -> list[tuple[dict[str, Any], Draft]]:
    """Each with what it is made of."""
    rows = None if data_set is None else jurisdictions.records(data_set.read_bytes())
    changed = dict(map(_grant, given))
    if not folders and rows is None and not changed:
        raise Invalid("give a policy's folder, --data-set or --grant: there is no draft")
    identifier = None if rows is None else jurisdictions.content_id(rows)
    policies: list[Policy | None] = [Policy(read_files(folder)) for folder in folders]
    return [
        (
            {"policy": policy and policy.sha256, "data_set": identifier, "grants": sorted(changed)},
            Draft(policy, None if rows is None else library.jurisdictions(rows), grants=changed),
        )
        for policy in policies or [None]
    ]


def _grant(given: str) -> tuple[str, dict[str, Any]]:
    """`ID member=value ...`, values as in a file of grants, and what of `facts.Grant` they change."""
    identifier, *members = given.split()
    return identifier, dict(_member(each) for each in members)


def _member(given: str) -> tuple[str, Any]:
    name, _, value = given.partition("=")
    if name not in MEMBERS:
        raise Invalid(f"--grant: {name!r} is none of {', '.join(sorted(MEMBERS))}")
    column = GRANTS.columns[name]
    try:
        read = column.read(value, Clock(datetime.now(UTC)))
    except Bad as bad:
        raise Invalid(f"--grant: {name}: {bad.value or value!r} {bad}: {bad.remedy}") from None
    return name, impact.member(name, column.default if read is None else read)


def _impacts(drafts: Sequence[Draft], bar: Progress) -> list[Impact]:
    url = db.role_url(Settings(), DbRole.COMPLIANCE)
    policies = [draft.policy for draft in drafts if draft.policy is not None]
    reading, judging = bar.add_task("reading", total=None), bar.add_task("judging", total=None)
    everybody = asyncio.run(impact.everybody_at(url, policies, lambda done: bar.update(reading, completed=done)))
    if unknown := {each for draft in drafts for each in draft.grants} - everybody.authorities.keys():
        raise NotFound(f"no such grant: {', '.join(sorted(unknown))}")
    gc.collect()
    gc.freeze()  # a million people would be searched for cycles again and again
    simulation = Simulation(everybody, lambda done, total: bar.update(judging, completed=done, total=total))
    return [simulation.impact(draft) for draft in drafts]


def _show_impact(name: str, report: Report) -> None:
    figures = report.figures
    typer.echo(f"{name}: {figures['people']} people, {figures['agents']} agents")
    for who, counts in figures["changes"].items():
        said = ", ".join(f"{kind.replace('_', ' ')} {counts[kind]}" for kind in KINDS.values())
        typer.echo(f"  {who}: {said}")
    paths = figures["paths"]
    typer.echo(
        f"  paths: {paths['before']} before, {paths['after']} after, {paths['gained']} gained, {paths['lost']} lost"
    )
    for row in figures["reasons"]:
        typer.echo(f"  {row['before']} -> {row['after']}: {row['subjects']}")
    if report.apart["acknowledge"]:
        typer.echo(f"  to acknowledge by name: {len(report.apart['acknowledge'])}")
    typer.echo(f"  report {report.digest}")


# --- who asked ------------------------------------------------------------------------------------------------


def show_traffic(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    key: Key,
    since: Since = None,
    until: Until = None,
    report: Json = None,
) -> None:
    """Decide again by a policy what was decided in a period, and tell whose answers would have been others."""
    since, until = since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC)
    with told():
        policy = Policy(read_files(folder))
        actor = _allowed(key)
        with progress_bar() as bar:
            found = _replayed(policy, since, until, bar)
        made = Report({"policy": policy.sha256}, found.figures, found.apart)
        counted = {name: found.figures[name] for name in ("since", "until", "decisions", "changed")}
        _note("traffic_simulated", {"actor": actor, **made.about, **made.named, **counted})
        _show_traffic(str(folder), made)
        _write([made], report)


def _replayed(policy: Policy, since: datetime | None, until: datetime | None, bar: Progress) -> Traffic:
    url = db.role_url(Settings(), DbRole.READER)
    task = bar.add_task("decisions", total=None)

    def progress(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return asyncio.run(traffic.replay(lambda: db.connect(url, DbRole.READER), policy, since, until, progress))


def _show_traffic(name: str, report: Report) -> None:
    figures = report.figures
    typer.echo(f"{name}: {figures['changed']} of {figures['decisions']} decisions would have been others")
    for row in figures["outcomes"]:
        typer.echo(f"  {row['before']} -> {row['after']}: {row['decisions']}, from {row['first']} to {row['last']}")
    for row in figures["reasons"]:
        typer.echo(f"  {row['before']} -> {row['after']}: {row['decisions']}")
    if figures["subjects"]:
        typer.echo("  of " + ", ".join(f"{kind}: {count}" for kind, count in figures["subjects"].items()))
    for failure in traffic.FAILURES:
        if figures[failure]:
            typer.echo(f"  {failure}: {figures[failure]}")
    typer.echo(f"  report {report.digest}")


# --- both -----------------------------------------------------------------------------------------------------


def _allowed(key: str) -> str:
    """Whose key it is, who may read what reports say of people."""
    return with_registry(Settings(), lambda registry: allowed(registry, key, Permission.RUN_PROGRAMME)).id


def _note(type_: str, members: dict[str, Any]) -> None:
    async def note() -> None:
        async with writing(Settings(), db.role_url(Settings(), DbRole.SERVICE)) as log:
            await log.note(type_, members)

    asyncio.run(note())


def _write(reports: Sequence[Report], target: Path | None) -> None:
    """For their owner alone: they name people."""
    if target is not None:
        content = [{**asdict(each), **each.named} for each in reports]
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
