"""Screenings: what a provider found about a person, or, without one, about the organization itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, NotFound, NotPermitted
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import label, name, one_of, slug, time
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.kind import After, Column, Findings, Kind, Part, Record, Row
from mythos_gate.registry.shown import Shown
from mythos_gate.terms import ScreeningStatus


def _of_organization(row: Row) -> bool:
    return row.get("person") is None


def _of_person(row: Row) -> bool:
    return row.get("person") is not None


SCREENINGS = Kind(
    name="screenings",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "person": Column(name, into="person_id", to="people"),
        "status": Column(one_of(ScreeningStatus), required=True),
        "screened_at": Column(time),
        "list_version": Column(label),
    },
    key=("organization", "person"),
    parts=(
        Part(tables.organization_screenings, key=("organization_id",), when=_of_organization),
        Part(tables.person_screenings, key=("person_id",), when=_of_person),
    ),
)

# --- one by one -----------------------------------------------------------------------------------------------

HITS = frozenset({ScreeningStatus.PENDING, ScreeningStatus.TRUE_MATCH})
STANDS = "a hit is on record, and what it was an adjudicator says"


def _hit_stays(_: Row, before: Record | None, after: After) -> Findings:
    """A provider reports hits and renews what was adjudicated; that a hit was none is said by an adjudicator."""
    [found] = after["person_screenings"] + after["organization_screenings"]
    was = before and before["status"]
    kept = {ScreeningStatus.TRUE_MATCH} if was == ScreeningStatus.TRUE_MATCH else HITS
    if was in HITS and found["status"] not in kept:
        yield "status", STANDS, "adjudicate it: POST /v1/screenings/adjudicate"
    elif found["status"] == ScreeningStatus.FALSE_POSITIVE and was != ScreeningStatus.FALSE_POSITIVE:
        yield "status", "is an adjudicator's word", "record the hit as pending, then POST /v1/screenings/adjudicate"


def refuse_own(items: Sequence[Mapping[str, Any]], caller: Caller) -> None:
    """`NotPermitted` for a result about the caller."""
    if any(caller.person == f"{item.get('organization')}/{item.get('person')}" for item in items):
        raise NotPermitted(
            "nobody records what was found about themselves: somebody else must", code="ADJUDICATOR_CONFLICT"
        )


RECORDING = replace(SCREENINGS, check=_hit_stays)
SHOWN = """
SELECT o.slug AS organization, p.external_id AS person, s.status, s.screened_at, s.list_version,
       o.slug || '/' || coalesce(p.external_id, '') AS place
FROM (SELECT organization_id, NULL AS person_id, status, screened_at, list_version FROM organization_screenings
      UNION ALL SELECT p.organization_id, p.id, s.status, s.screened_at, s.list_version
      FROM person_screenings s JOIN people p ON p.id = s.person_id) s
JOIN organizations o ON o.id = s.organization_id LEFT JOIN people p ON p.id = s.person_id
WHERE (CAST(:organization AS text) IS NULL OR o.slug = :organization)
  AND (CAST(:person AS text) IS NULL OR p.external_id = :person)
  AND (CAST(:status AS text) IS NULL OR s.status = :status)
  AND (CAST(:before AS timestamptz) IS NULL OR s.screened_at < :before OR s.screened_at IS NULL)
  AND o.slug || '/' || coalesce(p.external_id, '') > :after
ORDER BY place LIMIT :limit
"""


async def page(
    connection: AsyncConnection,
    *,
    organization: str | None,
    person: str | None,
    status: ScreeningStatus | None,
    before: datetime | None,
    after: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Results by name, behind the given place; an organization's own has no person. `before`: screened earlier."""
    values = {"organization": organization, "person": person, "status": status, "before": before}
    found = await connection.execute(text(SHOWN), {**values, "after": after or "", "limit": limit})
    return [{**row, "screened_at": row["screened_at"] and timestamp(row["screened_at"])} for row in found.mappings()]


HIT = {
    "organization_screenings": "SELECT s.organization_id AS id, s.status, s.screened_at, s.list_version,"
    " CAST(NULL AS text) AS requested_by"
    " FROM organization_screenings s JOIN organizations o ON o.id = s.organization_id"
    " WHERE o.slug = :organization FOR UPDATE OF s",
    "person_screenings": "SELECT s.person_id AS id, s.status, s.screened_at, s.list_version, p.requested_by"
    " FROM person_screenings s"
    " JOIN people p ON p.id = s.person_id JOIN organizations o ON o.id = p.organization_id"
    " WHERE o.slug = :organization AND p.external_id = :person FOR UPDATE OF s",
}


async def read_hit(connection: AsyncConnection, members: Mapping[str, Any]) -> Shown:
    """The result that is to be adjudicated, locked; its tag is that of this very hit. `NotFound`."""
    named = {"organization": members["organization"], "person": members.get("person")}
    kind = "organization_screenings" if named["person"] is None else "person_screenings"
    found = (await connection.execute(text(HIT[kind]), named)).mappings().one_or_none()
    if found is None:
        raise NotFound("no screening of that name")
    at = found["screened_at"]
    return Shown({**{str(name): value for name, value in found.items()}, "screened_at": at and timestamp(at)})


async def adjudicate(change: Change, members: Mapping[str, Any], etag: str, writer: Writer) -> None:
    """What a hit was: `false_positive` or `true_match`, under the adjudicator's own name; a match can turn out none.

    `NotPermitted` for who requested access for the person, or is it; `NotFound`; `Conflict` if there is no hit;
    `Outdated` if it is not the hit that `etag` stands for.
    """
    organization, person = members["organization"], members.get("person")
    table = tables.organization_screenings if person is None else tables.person_screenings
    hit = await read_hit(change.connection, members)
    hit.require(etag, "screening")
    found = hit.members
    caller = writer.caller
    names = {caller.identity_in(organization), caller.identity, caller.id, caller.person}
    if (names - {None}) & {found["requested_by"], person}:
        what = "whoever requested access for a person, or is that person, does not adjudicate"
        raise NotPermitted(f"{what}: somebody else must", code="ADJUDICATOR_CONFLICT")
    corrected = found["status"] == ScreeningStatus.TRUE_MATCH and members["status"] == ScreeningStatus.FALSE_POSITIVE
    if found["status"] != ScreeningStatus.PENDING and not corrected:
        raise Conflict(f"the screening is {found['status']} and cannot become {members['status']}: no hit waits")
    [key] = table.primary_key
    await change.connection.execute(update(table).where(key == hit.id).values(status=members["status"]))
    change.details |= {"organization" if person is None else "person": hit.id}
