"""Legal holds: while one stands, of its person or its organization's people nobody is erased (15 CFR 762.6(b))."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.authn.api_keys import Caller
from mythos_gate.registry import resources, stops
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import label, one_of, reference
from mythos_gate.registry.kind import Column, Kind, Part, Record, Row
from mythos_gate.registry.orders import Orders
from mythos_gate.terms import HoldScope

ORDERS = Orders(
    "legal_hold",
    tables.legal_holds,
    "SELECT h.id, h.scope, coalesce(o.slug, po.slug || '/' || p.external_id) AS target, h.matter,"
    " h.created_at AS since, h.lifted_at FROM legal_holds h"
    " LEFT JOIN organizations o ON o.id = h.organization_id"
    " LEFT JOIN people p ON p.id = h.person_id LEFT JOIN organizations po ON po.id = p.organization_id",
    about="matter",
)
# A hold that is acknowledged while somebody is being erased must have come before or after, never in between.
ALONE = text("SELECT pg_advisory_xact_lock(hashtext('mythos_gate retention'))")
ANY = text("SELECT EXISTS (SELECT FROM legal_holds WHERE lifted_at IS NULL)")
STANDS = text(
    "SELECT EXISTS (SELECT FROM legal_holds h JOIN people p ON h.person_id = p.id"
    " OR h.organization_id = p.organization_id WHERE p.id = :person AND h.lifted_at IS NULL)"
)


async def set_(change: Change, hold: Mapping[str, Any], now: datetime, caller: Caller) -> str:
    """The id. `Invalid`, or `Conflict` if one of this target and matter stands and nobody requested to lift it."""
    await change.connection.execute(ALONE)
    there = "a legal hold of this target and matter stands: nothing further is needed"
    identifier = await ORDERS.withdraw_lifts(change, hold, caller)
    if identifier is None:
        identifier = await resources.create_one(change, HOLDS, hold, now, there)
    change.details |= {"legal_hold": identifier, "scope": hold["scope"]}
    return identifier


async def any_stands(connection: AsyncConnection) -> bool:
    """Whether there is one at all. Held until the end of the transaction."""
    await connection.execute(ALONE)
    return bool((await connection.execute(ANY)).scalar_one())


async def stands(connection: AsyncConnection, person: str) -> bool:
    """Whether one is on the person or the organization. Held until the end of the transaction."""
    await connection.execute(ALONE)
    return bool((await connection.execute(STANDS, {"person": person})).scalar_one())


def _table(row: Row) -> str | None:
    return stops.TARGETS.get(row.get("scope"))


def _records(row: Row) -> list[Record]:
    scope, target = row.cells["scope"], row.cells["target"]
    named = {f"{each}_id": target if each == scope else None for each in HoldScope}
    return [{"scope": scope, **named, "matter": row.cells["matter"], "lifted_at": None}]


HOLDS = Kind(
    name="legal_holds",
    columns={
        "scope": Column(one_of(HoldScope), required=True),
        "target": Column(reference, required=True, to=_table),
        "matter": Column(label, required=True),
    },
    key=("scope", "target", "matter"),
    parts=(
        Part(
            tables.legal_holds,
            key=("scope", *(f"{each}_id" for each in HoldScope), "matter"),
            prefix="hld_",
            records=_records,
            among={"lifted_at": None},
        ),
    ),
)
