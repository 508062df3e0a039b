"""Assessments: what export control knows of a person. Compliance alone reads them, and two officers assert them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, NotPermitted
from mythos_gate.registry import nationality, resources
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.people import PEOPLE
from mythos_gate.registry.shown import Shown
from mythos_gate.terms import NationalityKind, RequestState, UsPerson

KINDS = {
    "citizenships": NationalityKind.CITIZENSHIP,
    "permanent_residencies": NationalityKind.PERMANENT_RESIDENCY,
}


async def read(connection: AsyncConnection, person: str, caller: Caller) -> Shown:
    """The assessment in force of a person, by id or `ORGANIZATION/EXTERNAL_ID`. `NotFound` if there is no such person.

    Its tag counts the changes: a hash of so few possible values could be guessed.
    """
    found = (await resources.read(connection, resources.PERSON, person, caller)).members
    assessed = tables.export_assessments
    query = select(assessed.c.us_person, assessed.c.us_basis, assessed.c.evidence_expires)
    row = (await connection.execute(query.where(assessed.c.person_id == found["id"]))).one_or_none()
    changes = select(func.count()).where(tables.nationality_commitments.c.person_id == found["id"])
    version = f"{found['id']}-{(await connection.execute(changes)).scalar_one()}"
    return Shown(
        {
            "id": found["id"],
            "person": f"{found['organization']}/{found['external_id']}",
            "us_person": row.us_person if row else UsPerson.UNKNOWN,
            "us_basis": row and row.us_basis,
            "evidence_expires": row and row.evidence_expires and timestamp(row.evidence_expires),
            **{member: await _held(connection, found["id"], kind) for member, kind in KINDS.items()},
        },
        version,
    )


async def _held(connection: AsyncConnection, person: str, kind: NationalityKind) -> list[dict[str, Any]]:
    held = tables.nationality_records.c
    query = (
        select(held.country, held.country_text, held.acquired, held.ended)
        .where(held.person_id == person, held.kind == kind)
        .order_by(held.acquired, held.country_text)
    )
    return [
        {
            "country": row.country_text,
            "code": row.country,
            "acquired": row.acquired and row.acquired.isoformat(),
            "ended": row.ended and row.ended.isoformat(),
        }
        for row in await connection.execute(query)
    ]


async def requested(connection: AsyncConnection, person: str, now: datetime) -> list[dict[str, Any]]:
    """What waits for a second officer about this person: all of what it would change."""
    waiting, kept_apart = tables.change_requests.c, tables.change_request_contents.c
    query = (
        select(waiting.id, waiting.requested_by, waiting.sha256, waiting.expires_at, kept_apart.members)
        .join(tables.change_request_contents, kept_apart.change_request_id == waiting.id)
        .where(waiting.reference == person, waiting.state == RequestState.REQUESTED, waiting.expires_at > now)
        .order_by(waiting.id)
    )
    return [
        {**row, **row["members"], "expires_at": timestamp(row["expires_at"])}
        for row in (await connection.execute(query)).mappings()
    ]


async def replace(change: Change, person: str, members: Mapping[str, Any], etag: str, writer: Writer) -> None:
    """All that is on record becomes what the members say. `Invalid`, or `Outdated` if it was changed since."""
    before = await _locked(change, person, writer)
    before.require(etag, "assessment")
    organization, _, external_id = str(before.members["person"]).partition("/")
    texts = {
        "us_person": members["us_person"],
        "us_basis": members["us_basis"],
        "evidence_expires": members["evidence_expires"],
        **{member: [_text(held) for held in members[member]] for member in KINDS},
    }
    named = {"organization": organization, "external_id": external_id}
    await resources.take_one(change, PEOPLE, named | texts, writer.now)
    change.details |= {"person": before.id}


async def withdraw(change: Change, person: str, writer: Writer) -> None:
    """The status counts as unknown from now on; the records stay. It takes access away, so one officer suffices."""
    before = await _locked(change, person, writer)
    if before.members["us_person"] == UsPerson.UNKNOWN:
        raise Conflict("the status is unknown already: nothing further is needed")
    assessed = tables.export_assessments
    unknown = update(assessed).where(assessed.c.person_id == before.id)
    await change.connection.execute(unknown.values(us_person=UsPerson.UNKNOWN, us_basis=None))
    await nationality.commit(change, [before.id])
    change.details |= {"person": before.id}


async def _locked(change: Change, person: str, writer: Writer) -> Shown:
    identifier = (await resources.read(change.connection, resources.PERSON, person, writer.caller)).id
    lock = select(tables.people.c.id).where(tables.people.c.id == identifier)
    await change.connection.execute(lock.with_for_update(key_share=True))
    found = await read(change.connection, identifier, writer.caller)
    organization, _, external_id = str(found.members["person"]).partition("/")
    if writer.caller.identity_in(organization) == external_id:
        raise NotPermitted("nobody assesses themselves: somebody else must", code="SELF_APPROVAL_FORBIDDEN")
    return found


def _text(held: Mapping[str, Any]) -> str:
    """As a file has it."""
    acquired, ended = held.get("acquired"), held.get("ended")
    dates = f"@{acquired or ''}{f'..{ended}' if ended else ''}" if acquired or ended else ""
    return f"{held['country']}{dates}"
