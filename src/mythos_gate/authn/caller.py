"""Who calls: the one check of a key for every route but the decision, which reads the same row with its records."""

from datetime import UTC, datetime

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn.api_keys import Caller, Presented, Stored, verify
from mythos_gate.tables import api_keys as keys
from mythos_gate.tables import authorities, callers, organizations, people
from mythos_gate.terms import Employment, PersonStatus

home = organizations.alias()
PERSON = (
    select(home.c.slug + "/" + people.c.external_id)
    .join_from(people, home)
    .where(people.c.id == callers.c.person_id)
    .scalar_subquery()
)
GONE = (
    exists()
    .where(people.c.id == callers.c.person_id)
    .where((people.c.status == PersonStatus.SUSPENDED) | (people.c.employment == Employment.ENDED))
)
FAR = datetime.max.replace(tzinfo=UTC)


async def authenticate(connection: AsyncConnection, presented: Presented) -> Caller:
    """`NotAuthenticated` unless the key is known, right and live."""
    query = (
        select(
            keys.c.id, keys.c.hash, callers.c.id.label("caller_id"), callers.c.name.label("caller_name"),
            callers.c.roles, keys.c.expires_at, keys.c.revoked_at, func.clock_timestamp().label("now"),
            callers.c.organization_id, callers.c.kind, organizations.c.slug, callers.c.authority_id,
            authorities.c.slug.label("authority"), PERSON.label("person"),
            callers.c.person_id, GONE.label("gone"),
        )
        .select_from(keys)
        .join(callers)
        .outerjoin(organizations, organizations.c.id == callers.c.organization_id)
        .outerjoin(authorities, authorities.c.id == callers.c.authority_id)
        .where(keys.c.id == presented.id)
    )  # fmt: skip
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return verify(presented, None, FAR)
    stored = Stored(
        row.id,
        row.hash.hex(),
        row.caller_id,
        row.caller_name,
        tuple(row.roles),
        row.expires_at,
        row.revoked_at,
        row.slug,
        row.organization_id,
        row.kind == "service",
        row.authority,
        row.authority_id,
        row.person,
        row.person_id,
        row.gone,
    )
    return verify(presented, stored, row.now)
