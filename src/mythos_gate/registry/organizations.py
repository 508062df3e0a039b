"""Organizations: who they are, and whom they belong to."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy import text as query
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid, NotPermitted
from mythos_gate.registry.columns import any_country, country, flag, one_of, slug, text
from mythos_gate.registry.kind import Column, Kind, Part
from mythos_gate.registry.narrowing import always, higher
from mythos_gate.registry.places import HOLDING
from mythos_gate.terms import OrganizationStatus

# Whose an organization `o` is: `:own` among those whose grants it holds, everybody's while it holds none.
CONCERNS = (
    "coalesce((SELECT bool_or(g.authority_id = :own) FROM grants g"  # noqa: S608
    f" WHERE g.organization_id = o.id AND {HOLDING.format('clock_timestamp()')}), true)"
)
THEIRS = f"SELECT o.id FROM organizations o WHERE {CONCERNS}"  # noqa: S608
CONCERNED = query(f"SELECT {CONCERNS} FROM organizations o WHERE o.id = :reference OR o.slug = :reference")  # noqa: S608


async def ids(connection: AsyncConnection, names: Sequence[str]) -> list[str]:
    """Of organizations by id or slug, each once. `Invalid` names one that is not on record."""
    known = tables.organizations.c
    these = select(known.id, known.slug).where(known.id.in_(names) | known.slug.in_(names))
    found = {name: row.id for row in await connection.execute(these) for name in (row.id, row.slug)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise Invalid(f"organizations: {unknown[0]!r} is not on record")
    return sorted({found[name] for name in names})


async def permit(connection: AsyncConnection, reference: str, caller: Caller) -> None:
    """It concerns whose grants it holds, and every officer while it holds none. `NotPermitted`."""
    if caller.authority_id is not None:
        values = {"reference": reference, "own": caller.authority_id}
        if (await connection.execute(CONCERNED, values)).scalar_one_or_none() is False:
            raise NotPermitted(
                "this organization holds grants of other authorities alone: it is theirs to decide about"
            )


ORGANIZATIONS = Kind(
    name="organizations",
    columns={
        "organization": Column(slug, required=True, into="slug"),
        "name": Column(text, required=True),
        "sector": Column(text, narrows=always),
        "status": Column(one_of(OrganizationStatus), required=True),
        "incorporated_in": Column(country),
        "parent_name": Column(text),
        "parent_country": Column(any_country),
        "ownership_change_pending": Column(flag, default=False, narrows=higher),
    },
    key=("organization",),
    parts=(Part(tables.organizations, key=("slug",), prefix="org_"),),
)
