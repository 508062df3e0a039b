"""Invitations: an organization asks somebody in, who comes by their own word. What then is on record is a person."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn import api_keys
from mythos_gate.authn.api_keys import NOBODY, Caller, Presented
from mythos_gate.errors import Conflict, Invalid, NotAuthenticated, NotFound
from mythos_gate.registry import resources
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import EVIDENCE, Writer, narrowed
from mythos_gate.registry.resources import PERSON
from mythos_gate.tables import invitations, organizations
from mythos_gate.terms import InvitationState, OrganizationStatus, Permission

PREFIX = "mgi"
# What nobody but the person says; the rest is told of them, as at an enrolment.
AGREEMENTS = ("acceptable_use", "technology_control_plan")
TIMES = ("created_at", "expires_at")
# Nothing is written when one expires. With `:own` those of one organization alone.
STATE = "CASE WHEN i.state = 'open' AND i.expires_at <= clock_timestamp() THEN 'expired' ELSE i.state END"
OWN = "i.organization_id = coalesce(CAST(:own AS text), i.organization_id)"


@dataclass(frozen=True, slots=True)
class Invited:
    """Whose invitation was presented; `person` is `ORGANIZATION/EXTERNAL_ID`, not on record before they accept."""

    id: str
    organization: str
    organization_id: str
    person: str
    now: datetime  # of the database


# --- inviting -------------------------------------------------------------------------------------------------


async def invite(change: Change, members: Mapping[str, Any], writer: Writer, until: datetime) -> dict[str, Any]:
    """The invitation with its `token`, which is kept nowhere. What could not be enrolled cannot be invited.

    `Invalid`, `NotPermitted`, or `Conflict` if one of this name is on record.
    """
    for name in AGREEMENTS:
        if name in members:
            raise Invalid(f"{name}: is given by the person, when they accept: leave it out")
    trial = await change.connection.begin_nested()
    enrolled = (await resources.create(change, PERSON, members, writer)).members
    await trial.rollback()
    change.forget()
    token, made = api_keys.create(PREFIX)
    identifier = _id(made)
    home = select(organizations.c.id).where(organizations.c.slug == enrolled["organization"])
    values = {
        "id": identifier,
        "organization_id": home.scalar_subquery(),
        "hash": made.hash,
        "members": {**_others(members), "external_id": enrolled["external_id"]},
        "requested_by": enrolled["requested_by"],
        "expires_at": until,
    }
    await change.connection.execute(insert(invitations).values(values))
    change.details |= {"invitation": identifier, "members": sorted(members)}
    return {**await read(change.connection, identifier, writer.caller), "token": token}


def _others(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name != "organization"}


# --- accepting ------------------------------------------------------------------------------------------------


def parse(token: str) -> Presented:
    """Read a token as sent; `NotAuthenticated` if it is none."""
    try:
        found = api_keys.parse(token, PREFIX)
    except NotAuthenticated:
        raise NotAuthenticated("the invitation's token is malformed: send it as it was shown") from None
    return Presented(_id(found), found.hash)


def _id(made: Presented) -> str:
    return f"inv_{made.id}"


KNOWN = text(
    "SELECT i.organization_id, o.slug, i.hash, i.state = 'withdrawn' OR i.state = 'open'"
    " AND i.expires_at <= clock_timestamp() OR o.status = :terminated AS gone,"
    " coalesce(p.external_id, i.members ->> 'external_id') AS external_id, clock_timestamp() AS now"
    " FROM invitations i JOIN organizations o ON o.id = i.organization_id LEFT JOIN people p ON p.id = i.person_id"
    " WHERE i.id = :id"
)


async def verify(connection: AsyncConnection, presented: Presented) -> Invited:
    """Whose it is, accepted or not. `NotAuthenticated` without saying why: unknown, wrong, expired, withdrawn."""
    values = {"id": presented.id, "terminated": OrganizationStatus.TERMINATED}
    row = (await connection.execute(KNOWN, values)).one_or_none()
    same = hmac.compare_digest(presented.hash, bytes(row.hash) if row else NOBODY)
    if row is None or not same or row.gone:
        raise NotAuthenticated("the invitation is not valid")
    return Invited(presented.id, row.slug, row.organization_id, f"{row.slug}/{row.external_id}", row.now)


async def accept(change: Change, invited: Invited, now: datetime) -> dict[str, Any]:
    """The person on record, as at an enrolment, with both agreements as given by themselves. `Conflict`, `Invalid`."""
    row = await _open(change, invited.id, invited.organization_id)
    # A service, so that it is nobody who asked for the access: that was whoever invited.
    own, name = invited.organization, invited.id
    caller = Caller(name, name, name, frozenset(), own, invited.organization_id, is_service=True)
    writer = Writer(caller, lambda permission: permission == Permission.ENROL, now, now)
    said = row["members"] | {EVIDENCE: row["members"].get(EVIDENCE) or invited.id} | dict.fromkeys(AGREEMENTS, True)
    values = {**said, "organization": invited.organization, "requested_by": row["requested_by"]}
    there = "this name is on record by now: ask for another invitation"
    person = await resources.create_one(change, narrowed(PERSON.kind, writer), values, now, there)
    await _end(change, invited.id, InvitationState.ACCEPTED, person)
    change.details |= {"person": person, "members": sorted(said)}
    home, _, external_id = invited.person.partition("/")
    return {"id": person, "organization": home, "external_id": external_id}


async def withdraw(change: Change, identifier: str, caller: Caller) -> dict[str, Any]:
    """`NotFound`, or `Conflict` if it is over."""
    await _open(change, identifier, caller.organization_id)
    await _end(change, identifier, InvitationState.WITHDRAWN)
    return await read(change.connection, identifier, caller)


LOCKED = text(f"SELECT members, requested_by, {STATE} AS state FROM invitations i WHERE {OWN} AND id = :id FOR UPDATE")  # noqa: S608


async def _open(change: Change, identifier: str, own: str | None) -> RowMapping:
    """Locked, so that it ends once. `NotFound`, or `Conflict` if it is over."""
    row = (await change.connection.execute(LOCKED, {"id": identifier, "own": own})).mappings().one_or_none()
    if row is None:
        raise NotFound("no such invitation")
    if row["state"] != InvitationState.OPEN:
        raise Conflict(f"the invitation is {row['state']}: nothing further is possible")
    return row


END = text(
    "UPDATE invitations SET state = :state, person_id = :person, members = NULL, requested_by = NULL WHERE id = :id"
)


async def _end(change: Change, identifier: str, state: InvitationState, person: str | None = None) -> None:
    await change.connection.execute(END, {"id": identifier, "state": state, "person": person})
    change.details |= {"invitation": identifier}


OVER = text(
    "UPDATE invitations SET members = NULL, requested_by = NULL WHERE state = 'open' AND members IS NOT NULL"
    " AND expires_at <= clock_timestamp()"
)


async def forget(connection: AsyncConnection) -> None:
    """What was said of people whom nobody waits for any more."""
    await connection.execute(OVER)


# --- reading --------------------------------------------------------------------------------------------------

SHOWN = f"""
SELECT i.id, o.slug AS organization, i.members, i.requested_by, {STATE} AS state, i.person_id AS person,
  i.created_at, i.expires_at
FROM invitations i JOIN organizations o ON o.id = i.organization_id WHERE {OWN}"""  # noqa: S608
ONE, PAGE = text(f"{SHOWN} AND i.id = :id"), text(f"{SHOWN} AND i.id > :after ORDER BY i.id LIMIT :limit")


async def read(connection: AsyncConnection, identifier: str, caller: Caller) -> dict[str, Any]:
    """`members` until it is over. `NotFound`, also for another organization's."""
    values = {"id": identifier, "own": caller.organization_id}
    row = (await connection.execute(ONE, values)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such invitation")
    return _shown(row)


async def page(connection: AsyncConnection, caller: Caller, after: str | None, limit: int) -> list[dict[str, Any]]:
    """In the order of their ids, behind the given one."""
    values = {"after": after or "", "limit": limit, "own": caller.organization_id}
    return [_shown(row) for row in (await connection.execute(PAGE, values)).mappings()]


def _shown(row: RowMapping) -> dict[str, Any]:
    return {**row, **{name: timestamp(row[name]) for name in TIMES}}
