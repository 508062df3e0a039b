"""Retention of the log: whole months that need not be kept any more are dropped. Their places in the tree stay."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Conflict, Invalid, Outdated
from mythos_gate.registry import holds
from mythos_gate.registry.change import Change
from mythos_gate.registry.erasure import HELD
from mythos_gate.terms import RETENTION

EXTENT = text("SELECT entries, first, last, unsigned FROM log_extent(:before)")
PRUNE = text("SELECT prune_log(:before)")
BUSY = "55P03"  # lock_not_available


async def bound(connection: AsyncConnection, members: Mapping[str, Any]) -> dict[str, Any]:
    """With what would be dropped: a request holds for exactly that."""
    return _told(members["before"], await _extent(connection, _month(members["before"])))


async def _extent(connection: AsyncConnection, before: date) -> Any:
    return (await connection.execute(EXTENT, {"before": before})).one()


def _told(month: str, found: Any) -> dict[str, Any]:
    return {"before": month, "entries": found.entries, "first": found.first, "last": found.last}


async def prune(change: Change, members: Mapping[str, Any], now: datetime) -> None:
    """`Conflict` with the legal basis while the entries must be kept, `Outdated` if they are others than requested."""
    before = _month(members["before"])
    start = datetime(before.year, before.month, before.day, tzinfo=UTC)
    if now < start + RETENTION:
        until = (start + RETENTION).date().isoformat()
        basis = "ten years (31 CFR 501.601; 15 CFR 762.6 asks five)"
        raise Conflict(f"what was written before {members['before']} is kept until {until}: {basis}", code=HELD)
    if await holds.any_stands(change.connection):
        raise Conflict("a legal hold stands (15 CFR 762.6(b)): the whole log is kept until it is lifted", code=HELD)
    found = await _extent(change.connection, before)
    if _told(members["before"], found) != dict(members):
        raise Outdated("the log was changed since: request it again")
    if not found.entries:
        raise Conflict(f"nothing is kept that was written before {members['before']}")
    if found.unsigned:
        raise Conflict(f"no signed head covers {found.unsigned} of these entries: have the log sequenced first")
    try:
        await change.connection.execute(PRUNE, {"before": before})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == BUSY:
            raise Conflict("somebody is reading the log: try again when it is idle") from None
        raise
    change.details |= members


def _month(given: str) -> date:
    try:
        return date.fromisoformat(f"{given}-01")
    except ValueError as error:
        raise Invalid("before: a month is given like 2016-01") from error
