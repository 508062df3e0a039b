"""Ownership: who owns how much of an organization. What a file says of an organization is all that holds."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.errors import NotFound
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import flag, percent, slug, text
from mythos_gate.registry.kind import Column, Kind, Part
from mythos_gate.registry.shown import Shown

OWNERSHIPS = Kind(
    name="ownerships",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "owner": Column(text, required=True, private=True),  # may be a natural person
        "percent": Column(percent, required=True),
        "blocked": Column(flag, default=False),
        "listed": Column(flag, default=False),
    },
    key=("organization", "owner"),
    parts=(Part(tables.ownerships, key=("organization_id", "owner"), whole=True),),
)


async def read(connection: AsyncConnection, reference: str) -> Shown:
    """Every owner on record of one organization, by its id or slug. `NotFound`."""
    pending = tables.organizations.c.ownership_change_pending
    named = select(tables.organizations.c.id, tables.organizations.c.slug, pending).where(
        (tables.organizations.c.id == reference) | (tables.organizations.c.slug == reference)
    )
    organization = (await connection.execute(named)).one_or_none()
    if organization is None:
        raise NotFound("no such organization")
    held = tables.ownerships.c
    query = select(held.owner, held.percent, held.blocked, held.listed).order_by(held.owner)
    owners = [
        {
            "owner": row.owner,
            "percent": format(row.percent.normalize(), "f"),
            "blocked": row.blocked,
            "listed": row.listed,
        }
        for row in await connection.execute(query.where(held.organization_id == organization.id))
    ]
    reported = {"ownership_change_pending": organization.ownership_change_pending}
    return Shown({"id": organization.id, "organization": organization.slug, **reported, "owners": owners})


async def settle(change: Change, reference: str, etag: str) -> str:
    """Take away what is on record, for the owners that follow: two officers have reviewed them. The slug.

    `Outdated` if it is not as it was when `etag` was given.
    """
    lock = select(tables.organizations.c.id).where(tables.organizations.c.id == reference)
    await change.connection.execute(lock.with_for_update(key_share=True))
    before = await read(change.connection, reference)
    before.require(etag, "ownership")
    table = tables.ownerships
    await change.connection.execute(delete(table).where(table.c.organization_id == reference))
    reviewed = update(tables.organizations).where(tables.organizations.c.id == reference)
    await change.connection.execute(reviewed.values(ownership_change_pending=False))
    change.details |= {"organization": reference}
    return str(before.members["organization"])


def rows(organization: str, members: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The owners as the lines of a file about this organization."""
    return [{"organization": organization, **owner} for owner in members["owners"]]
