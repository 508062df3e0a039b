"""Onboarding: an organization's own list, imported and exported by whoever may enrol."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Invalid, NotPermitted
from mythos_gate.registry import csvfile, imports, resources
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer, narrowed
from mythos_gate.registry.imports import Summary
from mythos_gate.registry.kind import Clock, InvalidFile, Kind, Problems
from mythos_gate.registry.people import ASSESSMENT
from mythos_gate.registry.resources import Resource, Search
from mythos_gate.terms import Permission


@dataclass(frozen=True, slots=True)
class Exported:
    """A CSV file in UTF-8, and how many records it has."""

    data: bytes
    rows: int


async def take(change: Change, resource: Resource, data: bytes, writer: Writer) -> Summary:
    """Make the registry what the file says. `InvalidFile` with all of its problems, or `Conflict`."""
    kind = _own(resource, writer)
    problems = Problems(kind)
    try:
        rows = await imports.aside(csvfile.read, data, kind, Clock(writer.now), problems)
        await imports.lock(change.connection, writer.caller.organization)
        outcome = await imports.take(change, kind, rows, problems)
    except InvalidFile as error:
        if any(each.column in ASSESSMENT for each in error.problems):
            error.code = "NATIONALITY_FIELD_FORBIDDEN"
        raise
    return imports.report(change, outcome.summary(kind.name, len(rows)))


async def export(
    connection: AsyncConnection, resource: Resource, organization: str, writer: Writer, columns: str | None = None
) -> Exported:
    """The columns that this writer may import again, or those of them that were asked for, one record a line.

    `NotPermitted` where nationality was asked for, `Invalid` where anything else.
    """
    names = _own(resource, writer).names
    if columns is not None:
        names = _chosen(names, columns, writer)
    out = io.StringIO()
    table = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\r\n")
    table.writeheader()
    rows, after = 0, None
    while True:
        search = Search({"organization": organization}, after)
        found = await resources.page(connection, resource, writer.caller, search)
        # What was erased has no name of its own, by which it could be imported.
        there = [shown.members for shown in found if shown.members["external_id"] != shown.id]
        table.writerows({name: _cell(value) for name, value in members.items()} for members in there)
        rows += len(there)
        if len(found) < search.limit:
            return Exported(out.getvalue().encode(), rows)
        after = found[-1].id


def _chosen(names: Sequence[str], columns: str, writer: Writer) -> list[str]:
    chosen = [each.strip() for each in columns.split(",")]
    if forbidden := sorted(ASSESSMENT.intersection(chosen)):
        told = ", ".join(forbidden)
        if writer.may(Permission.ASSESS):
            raise Invalid(f"columns: {told}: not exported: read them person by person, which is noted in the log")
        what = "an organization is told who is eligible, and never why not: GET /v1/eligibility"
        raise NotPermitted(f"columns: {told}: of compliance alone: {what}", code="NATIONALITY_FIELD_FORBIDDEN")
    if not set(chosen) <= set(names) or len(set(chosen)) < len(chosen):
        raise Invalid(f"columns: name each of those wanted once: {', '.join(names)}")
    return chosen


def _own(resource: Resource, writer: Writer) -> Kind:
    """What may be set here one by one may be set in a file; a status has routes of its own."""
    settable = {*resource.settable(new=False), *resource.kind.key}
    kind = narrowed(resource.kind, writer)
    refused = kind.refused | {name for name in kind.columns if name not in settable}
    return replace(kind, refused=refused)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ";".join(value)
        case _:
            return str(value)
