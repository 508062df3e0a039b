"""Seats: places under a grant's cap. Claiming is a transaction of its own: all required grants or none."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Conflict
from mythos_gate.registry.change import Change
from mythos_gate.tables import grants, people, seat_counts, seats
from mythos_gate.terms import Employment, PersonStatus


async def claim(change: Change, person: str, wanted: Iterable[str]) -> None:
    """Hold a seat under each grant. `Conflict` if one has no free seat, or the person has left: then none is held.

    The person is locked before the counts, as a suspension does, and grants in the order of their ids, so that nobody
    waits in a circle. The caps are locked too: who raises the count to the cap tells the organization's key.
    """
    present = select(people.c.organization_id).where(
        people.c.id == person, people.c.status == PersonStatus.ACTIVE, people.c.employment != Employment.ENDED
    )
    organization = (await change.connection.execute(present.with_for_update(read=True))).scalar_one_or_none()
    if organization is None:
        raise Conflict("the person has been suspended or has left")
    wanted = sorted(wanted)
    capped = select(grants.c.id).where(grants.c.id.in_(wanted)).order_by(grants.c.id)
    await change.connection.execute(capped.with_for_update(read=True))
    for grant in wanted:
        await change.connection.execute(insert(seat_counts).values(grant_id=grant, used=0).on_conflict_do_nothing())
        locked = (
            await change.connection.execute(
                select(seat_counts.c.used, grants.c.seat_cap)
                .join(grants, grants.c.id == seat_counts.c.grant_id)
                .where(seat_counts.c.grant_id == grant)
                .with_for_update(of=seat_counts)
            )
        ).one()
        seat = insert(seats).values(grant_id=grant, person_id=person, organization_id=organization)
        claimed = await change.connection.execute(seat.on_conflict_do_nothing().returning(seats.c.grant_id))
        if claimed.one_or_none() is None:
            continue  # held already
        if locked.seat_cap is not None and locked.used >= locked.seat_cap:
            raise Conflict(f"grant {grant} has no free seat")
        await change.connection.execute(
            update(seat_counts).where(seat_counts.c.grant_id == grant).values(used=seat_counts.c.used + 1)
        )
    change.details |= {"person": person, "grants": wanted}


async def release(connection: AsyncConnection, left: Sequence[str]) -> None:
    """End every seat of these people, whose rows are locked, and lower the counts by as many."""
    if left:
        await connection.execute(LOCK, {"people": list(left)})
        await connection.execute(RELEASE, {"people": list(left)})


# Claims lock the counts in the order of their ids; so does this, or one of the two could wait for the other for ever.
LOCK = text(
    "SELECT c.grant_id FROM seat_counts c WHERE c.grant_id IN (SELECT g.id FROM grants g"
    " JOIN people p ON p.organization_id = g.organization_id WHERE p.id = ANY (:people))"
    " ORDER BY c.grant_id FOR UPDATE"
)
RELEASE = text(
    "WITH released AS (DELETE FROM seats WHERE person_id = ANY (:people) RETURNING grant_id)"
    " UPDATE seat_counts c SET used = c.used - r.freed"
    " FROM (SELECT grant_id, count(*) AS freed FROM released GROUP BY grant_id) r WHERE c.grant_id = r.grant_id"
)
