"""Break-glass: an incident, its approvers, and how long it passes what may be passed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import label, many, name, reference, slug, time
from mythos_gate.registry.kind import After, Column, Findings, Kind, Part, Record
from mythos_gate.registry.kind import Row as Line
from mythos_gate.registry.people import approver, local

table = tables.break_glasses


def _tidy(row: Line) -> None:
    organization = row.cells["organization"]
    row.cells["opened_by"] = local(row.cells["opened_by"], organization)
    row.cells["approvers"] = list(dict.fromkeys(local(each, organization) for each in row.cells["approvers"]))


def _check(_: Line, __: Record | None, after: After) -> Findings:
    for opened in after["break_glasses"]:
        if opened["expires_at"] <= opened["opened_at"]:
            yield "expires", "is not after opened", "correct one of the two"


BREAK_GLASS = Kind(
    name="break_glass",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "incident": Column(label, required=True),
        "people": Column(many(name), to="people"),  # none named: anyone
        "model": Column(slug, into="model_id", to="models"),
        "opened_by": Column(approver, required=True),
        "approvers": Column(many(approver), required=True),
        "opened": Column(time, required=True, into="opened_at"),
        "expires": Column(time, required=True, into="expires_at"),
    },
    key=("organization", "incident"),
    parts=(Part(tables.break_glasses, key=("organization_id", "incident"), prefix="bgl_"),),
    tidy=_tidy,
    check=_check,
)

# Over REST it is opened by one officer and approved by two others, each by the gate's own id.
OPENED = {"opened_by": Column(reference, required=True), "approvers": Column(many(reference), default=[])}
OPENING = replace(BREAK_GLASS, columns={**BREAK_GLASS.columns, **OPENED})
SHOWN = text(
    "SELECT b.id, o.slug AS organization, b.incident,"
    " (SELECT array_agg(p.external_id ORDER BY 1) FROM people p WHERE p.id = ANY (b.people)) AS people,"
    " b.model_id AS model,"
    " b.opened_by, b.approvers, b.opened_at AS opened, b.expires_at AS expires, b.reviewed_by, b.reviewed_at, b.review"
    " FROM break_glasses b JOIN organizations o ON o.id = b.organization_id"
    " WHERE (CAST(:id AS text) IS NULL OR b.id = :id) AND b.id > :after ORDER BY b.id LIMIT :limit"
)
TIMES = ("opened", "expires", "reviewed_at")


async def page(connection: AsyncConnection, after: str | None, limit: int, only: str | None = None) -> list[Record]:
    """Break-glasses in the order of their ids, behind the given one, or `only` one."""
    rows = (await connection.execute(SHOWN, {"id": only, "after": after or "", "limit": limit})).mappings()
    return [{**row, **{name: row[name] and timestamp(row[name]) for name in TIMES}} for row in rows]


async def read(connection: AsyncConnection, identifier: str) -> Record:
    """`NotFound` if there is none."""
    found = await page(connection, None, 1, identifier)
    if not found:
        raise NotFound("no such break-glass")
    return found[0]


def opening(members: Mapping[str, Any], by: Sequence[str], now: datetime) -> dict[str, Any]:
    """The record of one that is open from now on for so many hours.

    `by`: who requested it, then who approved it, by their ids on record.
    """
    opener, *approvers = by
    window = {"opened": timestamp(now), "expires": timestamp(now + timedelta(hours=members["hours"]))}
    named = {name: value for name, value in members.items() if name != "hours"}
    return named | window | {"opened_by": opener, "approvers": approvers}


async def granted(connection: AsyncConnection, identifier: str) -> Record:
    """What its opening was requested to be."""
    found = await read(connection, identifier)
    window = datetime.fromisoformat(found["expires"]) - datetime.fromisoformat(found["opened"])
    shown = {name: found[name] for name in ("organization", "incident", "people", "model")}
    return shown | {"hours": window / timedelta(hours=1)}


async def close(change: Change, identifier: str, now: datetime) -> None:
    """End it now. `Conflict` if it is over."""
    before = await _locked(change, identifier, now)
    if before.over:
        raise Conflict("the break-glass is over: nothing further is possible")
    # Never before it began: it may have been opened within this very microsecond.
    await _set(change, identifier, expires_at=max(now, before.opened_at + timedelta(microseconds=1)))


async def review(change: Change, identifier: str, caller: Caller, found: str, now: datetime) -> None:
    """What somebody other than the opener made of it, when it is over. `Conflict` otherwise."""
    before = await _locked(change, identifier, now)
    by = caller.identity_in(before.organization)
    if before.opened_by in {by, caller.identity}:
        what = "whoever opened a break-glass does not review it: somebody else must"
        raise Conflict(what, code="SELF_APPROVAL_FORBIDDEN")
    if not before.over:
        raise Conflict("the break-glass is still open: close it first, or wait until it ends")
    if before.reviewed_by is not None:
        raise Conflict("the break-glass was reviewed before: nothing further is possible")
    await _set(change, identifier, reviewed_by=by, reviewed_at=now, review=found)


async def _locked(change: Change, identifier: str, now: datetime) -> Row[Any]:
    over = (table.c.expires_at <= now).label("over")
    named = tables.organizations.c.slug.label("organization")
    query = select(table, over, named).join(tables.organizations).where(table.c.id == identifier)
    row = (await change.connection.execute(query.with_for_update(of=table))).one_or_none()
    if row is None:
        raise NotFound("no such break-glass")
    return row


async def _set(change: Change, identifier: str, **values: Any) -> None:
    await change.connection.execute(update(table).where(table.c.id == identifier).values(**values))
    change.details |= {"break_glass": identifier}
