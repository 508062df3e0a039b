"""Provisioning: an organization's people as its identity provider has them, in the words of SCIM (RFC 7643).

What the registry has of a person is its own, and written as every other change of it is; beside it stands what the
provider said, so that the provider reads the same again. Where they differ, the registry was changed since: it counts.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import RowMapping, delete, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, Invalid, NotFound, Taken
from mythos_gate.registry import change_requests, resources, standing
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import LONGEST_NAME
from mythos_gate.registry.delegation import ANEW, HAS_LEFT, Writer
from mythos_gate.registry.resources import PERSON
from mythos_gate.registry.widening import Wanted
from mythos_gate.tables import scim_members, scim_users
from mythos_gate.terms import Employment, Permission, RequestedAction

OWN = "urn:ietf:params:scim:schemas:extension:mythosgate:2.0:User"
LONGEST = 256  # characters of a user name or an external id
# Columns of their own, the server's, or told by others.
APART = frozenset({"id", "schemas", "meta", "userName", "externalId", "groups"})

User: TypeAlias = dict[str, Any]  # by the attributes' names in SCIM


@dataclass(frozen=True, slots=True)
class Entry:
    """A user or a group, and when it was made and changed by the provider."""

    attributes: User
    created: datetime
    changed: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """What was found: how many in all, and those that were asked for."""

    total: int
    entries: Sequence[Entry]


def provider(writer: Writer) -> Writer:
    """May say of people what whoever enrols them may, and nothing else."""
    return dataclasses.replace(writer, may=lambda permission: permission == Permission.ENROL)


# --- the provider's words and the registry's --------------------------------------------------------------------


def asserted(user: Mapping[str, Any]) -> dict[str, str | None]:
    """What of it the registry has, by its names. Nothing said of the employment is what allows less."""
    name, own = user.get("name") or {}, user.get(OWN) or {}
    parts = " ".join(filter(None, (name.get("givenName"), name.get("familyName"))))
    return {
        "name": user.get("displayName") or name.get("formatted") or parts or None,
        "email": _address(user.get("emails") or ()),
        "work_country": own.get("workCountry") or None,
        "employment": (own.get("employment") or Employment.CONTRACTOR).lower(),
    }


def _address(emails: Sequence[Mapping[str, Any]]) -> str | None:
    """The primary one, else that at work, else the first."""
    ranked = sorted(emails, key=lambda each: (not each.get("primary"), str(each.get("type")).lower() != "work"))
    return next((each["value"] for each in ranked if each.get("value")), None)


def _shown(row: RowMapping) -> User:
    """What the provider said, but for what the registry has otherwise."""
    user, said, held = dict(row["attributes"] or {}), asserted(row["attributes"] or {}), _held(row)
    if said["name"] != held["name"]:
        user["displayName"] = held["name"]
    if said["email"] != held["email"]:
        user["emails"] = held["email"] and [{"value": held["email"], "type": "work", "primary": True}]
    own = dict(user.get(OWN) or {})
    for member, attribute in (("work_country", "workCountry"), ("employment", "employment")):
        if said[member] != held[member]:
            own[attribute] = held[member]
    # What a provider took away is not told; to whoever never spoke of it, everything is.
    active = True if _is_there(row) else False if row["attributes"] is None or "active" in user else None
    groups = [{"value": each["id"], "$ref": f"Groups/{each['id']}", "display": each["name"]} for each in row["groups"]]
    names = {"id": row["id"], "userName": row["user_name"], "externalId": row["external_id"]}
    return {**user, **names, "active": active, OWN: own or None, "groups": groups or None}


def _held(row: RowMapping) -> dict[str, str | None]:
    members = ("name", "email", "employment")
    return {**{name: row[name] for name in members}, "work_country": row["work_country_text"] or row["work_country"]}


def _is_there(row: RowMapping) -> bool:
    return bool(row["status"] == "active" and row["employment"] != Employment.ENDED)


# --- reading --------------------------------------------------------------------------------------------------

# Whom no provider has spoken of is called as in the registry, so that it finds them and does not make them anew.
PEOPLE = """
SELECT p.id, p.name, p.email, p.work_country, p.work_country_text, p.status, p.employment, s.attributes,
  CASE WHEN s.person_id IS NULL THEN p.external_id ELSE s.user_name END AS user_name,
  CASE WHEN s.person_id IS NULL THEN p.external_id ELSE s.external_id END AS external_id,
  coalesce(s.created_at, p.created_at) AS created_at, coalesce(s.changed_at, p.created_at) AS changed_at,
  coalesce((SELECT jsonb_agg(jsonb_build_object('id', g.id, 'name', g.display_name) ORDER BY g.id)
    FROM scim_members m JOIN scim_groups g ON g.id = m.group_id WHERE m.person_id = p.id), '[]') AS groups
"""
THEIRS = """
FROM people p LEFT JOIN scim_users s ON s.person_id = p.id
WHERE p.organization_id = :own AND p.status <> 'erased' AND s.deleted_at IS NULL
"""
# By each attribute that can be asked for, whatever the case of a user name (RFC 7643 4.1.1).
UNSPOKEN = "SELECT p.id FROM people p WHERE p.organization_id = :own AND p.external_id = :{name}"
UNSPOKEN += " AND NOT EXISTS (SELECT FROM scim_users s WHERE s.person_id = p.id)"
SPOKEN = "SELECT person_id FROM scim_users WHERE organization_id = :own AND "
EQUAL = {
    "id": "p.id = :id",
    "userName": f"p.id IN ({SPOKEN} lower(user_name) = lower(:userName) UNION {UNSPOKEN.format(name='userName')})",
    "externalId": f"p.id IN ({SPOKEN} external_id = :externalId UNION {UNSPOKEN.format(name='externalId')})",
}


async def read(connection: AsyncConnection, caller: Caller, identifier: str, *, lock: bool = False) -> Entry:
    """By the gate's id. `NotFound`, also for another organization's and for who was deleted or erased."""
    return _entry(await _row(connection, caller, identifier, lock=lock))


async def _row(connection: AsyncConnection, caller: Caller, identifier: str, *, lock: bool = False) -> RowMapping:
    end = " AND p.id = :id" + (" FOR NO KEY UPDATE OF p" if lock else "")
    found = await connection.execute(text(PEOPLE + THEIRS + end), {"own": caller.organization_id, "id": identifier})
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound("no such user")
    return row


async def page(connection: AsyncConnection, caller: Caller, equal: Mapping[str, str], offset: int, limit: int) -> Page:
    """Those whose attributes are equal to these, in the order of their ids."""
    these = THEIRS + "".join(f" AND {EQUAL[name]}" for name in equal)
    values = {"own": caller.organization_id, "offset": offset, "limit": limit, **equal}
    total = (await connection.execute(text("SELECT count(*)" + these), values)).scalar_one()
    found = await connection.execute(text(PEOPLE + these + " ORDER BY p.id OFFSET :offset LIMIT :limit"), values)
    return Page(total, [_entry(row) for row in found.mappings()])


def _entry(row: RowMapping) -> Entry:
    return Entry(_shown(row), row["created_at"], row["changed_at"])


# --- writing --------------------------------------------------------------------------------------------------


async def create(change: Change, user: User, writer: Writer) -> str:
    """A new person. Their id; `Invalid`, or `Taken` by a user that is there."""
    await _require_free(change.connection, user, writer.caller)
    change.type = "person_created"
    said = {name: value for name, value in asserted(user).items() if value is not None}
    named = {"external_id": await _free_name(change.connection, user, writer.caller)}
    made = await resources.create(change, PERSON, named | said, writer)
    if user.get("active") is False:
        await standing.suspend_person(change, made.id, None, writer.caller)
    await _keep(change, made.id, user, writer.caller)
    return made.id


async def replace(change: Change, identifier: str, user: User, writer: Writer) -> None:
    """The person as the provider has them now. `NotFound`, `Invalid`, `Taken`, or `Conflict` of who has left."""
    row = await _row(change.connection, writer.caller, identifier, lock=True)
    await _require_free(change.connection, user, writer.caller, identifier)
    change.type, (said, held) = "person_changed", (asserted(user), _held(row))
    if members := {name: value for name, value in said.items() if value != held[name]}:
        await resources.alter(change, PERSON, identifier, members, "*", writer)
    await _follow(change, identifier, user, writer)
    await _keep(change, identifier, user, writer.caller)
    change.details |= {"person": identifier, "members": sorted(members.keys() | _columns(_shown(row), user))}


def _columns(before: User, after: User) -> set[str]:
    """Which of the provider's words changed, by where they are kept."""
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    names = {"userName": "user_name", "externalId": "external_id"}
    return {names.get(name, "attributes") for name in changed - (APART - names.keys())}


async def remove(change: Change, identifier: str, writer: Writer) -> None:
    """To the provider the user is gone; the person has left, and their record stays. `NotFound`."""
    own = writer.caller.organization_id
    row = await _row(change.connection, writer.caller, identifier, lock=True)
    change.type = "person_revoked"
    if row["employment"] != Employment.ENDED:
        await standing.revoke_person(change, identifier, None, writer.caller)
    await change.connection.execute(delete(scim_members).where(scim_members.c.person_id == identifier))
    gone: dict[str, Any] = {
        "user_name": None,
        "external_id": None,
        "attributes": {},
        "deleted_at": func.clock_timestamp(),
    }
    new = insert(scim_users).values(person_id=identifier, organization_id=own, **gone)
    await change.connection.execute(new.on_conflict_do_update(index_elements=["person_id"], set_=gone))
    change.details |= {"person": identifier}


async def _follow(change: Change, identifier: str, user: User, writer: Writer) -> None:
    """Whoever is active no more has no access from here on; who is to be again, for that is asked."""
    row, active = await _row(change.connection, writer.caller, identifier), user.get("active")
    if _is_there(row) and not active:
        change.type = "person_suspended"
        await standing.suspend_person(change, identifier, None, writer.caller)
    elif active and row["employment"] == Employment.ENDED:
        raise Conflict(f"{HAS_LEFT}: delete the user, and {ANEW}")
    elif active and not _is_there(row):
        await _ask_to_lift(change, identifier, writer)


async def _ask_to_lift(change: Change, identifier: str, writer: Writer) -> None:
    """A suspension ends when an officer of the programme approves what is asked here; asked for is it once."""
    if not await change_requests.is_waiting(change.connection, RequestedAction.ACTIVATE, identifier, writer.now):
        details, wanted = dict(change.details), Wanted(RequestedAction.ACTIVATE, PERSON.name, identifier, {}, "*")
        # To ask is all that this does: whoever approves it needs the permission.
        made = await change_requests.request(change, wanted, dataclasses.replace(writer, may=lambda _: True))
        change.details = details | {"change_request": made["id"]}


async def _keep(change: Change, identifier: str, user: User, caller: Caller) -> None:
    """What the provider said, to be told it again."""
    said = {name: value for name, value in user.items() if name not in APART and value is not None}
    names = {"user_name": user["userName"], "external_id": user.get("externalId")}
    values = {**names, "attributes": said, "changed_at": func.clock_timestamp()}
    new = insert(scim_users).values(person_id=identifier, organization_id=caller.organization_id, **values)
    try:
        await change.connection.execute(new.on_conflict_do_update(index_elements=["person_id"], set_=values))
    except IntegrityError:
        raise Taken("userName or externalId: another user has it") from None


async def _require_free(connection: AsyncConnection, user: User, caller: Caller, identifier: str | None = None) -> None:
    for name in ("userName", "externalId"):
        value = user.get(name)
        if value is None:
            continue
        if not 0 < len(value) <= LONGEST:
            raise Invalid(f"{name}: has 1 to {LONGEST} characters")
        if any(
            each.attributes["id"] != identifier
            for each in (await page(connection, caller, {name: value}, 0, 2)).entries
        ):
            raise Taken(f"{name}: another user has it")


FORBIDDEN = re.compile(r"[^A-Za-z0-9._@+-]")
MOST_NAMESAKES = 100
NAMES = text("SELECT external_id FROM people WHERE organization_id = :own AND external_id = ANY (:names)")


async def _free_name(connection: AsyncConnection, user: User, caller: Caller) -> str:
    """What gateways will call the person: the external id, else the user name; numbered if somebody had it who left."""
    wanted = FORBIDDEN.sub("-", user.get("externalId") or user["userName"])[: LONGEST_NAME - 4]
    names = [wanted, *(f"{wanted}.{number}" for number in range(2, MOST_NAMESAKES))]
    values = {"own": caller.organization_id, "names": names}
    taken = set((await connection.execute(NAMES, values)).scalars())
    free = next((name for name in names if name not in taken), None)
    if free is None:
        raise Conflict("userName: too many had this name: give another externalId")
    return free
