"""Places: an organization takes one under an authority's cap with its first active grant, and frees it with the last.

A suspended grant keeps its place; one that was revoked or has expired does not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry.change import Change
from mythos_gate.tables import authorities

HOLDING = "g.status IN ('active', 'suspended') AND (g.not_after IS NULL OR g.not_after > {})"
TAKEN = text(
    f"SELECT count(DISTINCT organization_id) FROM grants g WHERE authority_id = :authority"  # noqa: S608  no input
    f" AND {HOLDING.format('clock_timestamp()')}"
)
TAKEN_BEFORE = text(
    "SELECT count(DISTINCT g.organization_id) FROM grants_history g"  # noqa: S608
    f" WHERE g.authority_id = :authority AND g.valid @> now() AND {HOLDING.format('now()')}"
)
CAP_THEN = text(
    "SELECT a.id, a.organization_cap, (SELECT count(DISTINCT g.organization_id) FROM grants_history g"  # noqa: S608
    f" WHERE g.authority_id = a.id AND g.valid @> :at AND {HOLDING.format(':at')}) AS organizations"
    " FROM authorities_history a WHERE (a.slug = :authority OR a.id = :authority) AND a.valid @> :at"
)
GRANTS_THEN = text(
    "SELECT g.id, g.reference, o.slug AS organization, g.status, g.seat_cap,"
    " (SELECT count(*) FROM seats_history s WHERE s.grant_id = g.id AND s.valid @> :at) AS used"
    " FROM grants_history g JOIN organizations o ON o.id = g.organization_id"
    " WHERE g.authority_id = :authority AND g.valid @> :at AND g.status <> 'draft' ORDER BY g.reference"
)


@dataclass(frozen=True, slots=True)
class Seats:
    """The seats under one grant; no cap is None."""

    id: str
    reference: str
    organization: str
    status: str
    seat_cap: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken under an authority's caps."""

    organization_cap: int | None
    organizations: int
    grants: Sequence[Seats]


async def check(change: Change, concerned: Iterable[str], *, cap: bool = False) -> None:
    """`Conflict` if this change takes a place beyond an authority's cap, or with `cap` sets that below what is taken.

    The authority stays locked until the commit, so that two changes cannot each take the last place.
    """
    for authority in sorted(set(concerned)):
        query = select(authorities.c.slug, authorities.c.organization_cap).where(authorities.c.id == authority)
        row = (await change.connection.execute(query.with_for_update(key_share=True))).one()
        taken = (await change.connection.execute(TAKEN, {"authority": authority})).scalar_one()
        if row.organization_cap is None or taken <= row.organization_cap:
            continue
        # Where too many hold one already, what takes no further place is not refused.
        before = (await change.connection.execute(TAKEN_BEFORE, {"authority": authority})).scalar_one()
        if taken > before or cap:
            raise Conflict(
                f"{taken} organizations would hold grants of {row.slug}, whose cap is {row.organization_cap}:"
                " revoke the grants of others first, or raise the cap"
            )


async def usage(connection: AsyncConnection, authority: str, at: datetime, own: str | None = None) -> Usage:
    """What was taken at an instant. `NotFound` if there was no such authority then, or with `own` for any other."""
    row = (await connection.execute(CAP_THEN, {"authority": authority, "at": at})).one_or_none()
    if row is None or own not in {None, row.id}:
        raise NotFound("no such authority at that time")
    found = await connection.execute(GRANTS_THEN, {"authority": row.id, "at": at})
    return Usage(row.organization_cap, row.organizations, [Seats(**grant) for grant in found.mappings()])
