"""Officers: people on record who run the programme. The first ones, before there are two who could approve anything."""

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Invalid
from mythos_gate.registry import imports
from mythos_gate.registry.change import Change

KNOWN = text(
    "SELECT EXISTS (SELECT FROM organizations WHERE slug = :slug) AS organization, EXISTS (SELECT FROM people p"
    " JOIN organizations o ON o.id = p.organization_id WHERE o.slug = :slug AND p.external_id = :name) AS person"
)


async def is_enrolled(connection: AsyncConnection, reference: str) -> bool:
    slug, _, name = reference.partition("/")
    return bool((await connection.execute(KNOWN, {"slug": slug, "name": name})).one().person)


async def enrol(change: Change, reference: str) -> str:
    """Put `ORGANIZATION/EXTERNAL_ID` on record, with an organization that may do nothing, if they are not. The same."""
    slug, _, name = reference.partition("/")
    if not name or {",", "\n", '"'} & set(reference):
        raise Invalid("an officer is on record somewhere: give ORGANIZATION/EXTERNAL_ID")
    known = (await change.connection.execute(KNOWN, {"slug": slug, "name": name})).one()
    wanted = {
        "organizations": None if known.organization else f"organization,name,status\n{slug},{slug},prospect\n",
        "people": None if known.person else f"organization,external_id,employment\n{slug},{name},employee\n",
    }
    for kind, row in wanted.items():
        if row is not None:
            await imports.load(change, kind, row.encode(), now=datetime.now(UTC))
    change.details.clear()
    return reference


KEYS = text("SELECT NOT EXISTS (SELECT FROM api_keys) AS none, (SELECT demo FROM programme) AS demo")
OFFICERS = text(
    "SELECT count(DISTINCT c.person_id) FROM callers c JOIN api_keys k ON k.caller_id = c.id"
    " WHERE 'compliance' = ANY (c.roles) AND c.person_id IS NOT NULL"
)


async def are_awaited(connection: AsyncConnection) -> bool:
    """Whether nobody has a key yet, or it is the demo's database: then one is made by whoever runs the command line."""
    found = (await connection.execute(KEYS)).one()
    return bool(found.none or found.demo)


async def is_demo(connection: AsyncConnection) -> bool:
    """Whether the database was marked as the demo's, when it was empty."""
    return bool((await connection.execute(KEYS)).one().demo)


async def is_alone(connection: AsyncConnection) -> bool:
    """Whether there never were two people with a key of compliance, so that nobody could approve the second's."""
    return bool((await connection.execute(OFFICERS)).scalar_one() < 2)
