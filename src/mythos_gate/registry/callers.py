"""Callers: named people and services, and their API keys, of which only hashes are kept."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Column, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn import api_keys, tokens
from mythos_gate.authn.api_keys import Caller, Presented
from mythos_gate.errors import Conflict, Invalid, NotFound, NotPermitted
from mythos_gate.registry.change import Change
from mythos_gate.tables import api_keys as keys
from mythos_gate.tables import authorities, callers, models, organizations, people
from mythos_gate.terms import OF_AN_ORGANIZATION, Role

LIVE_KEYS = 2  # of a caller at a time: the one in use, and the one that takes its place


@dataclass(frozen=True, slots=True)
class NewKey:
    """`text` is the key itself: shown once, kept nowhere."""

    id: str
    caller: str
    text: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller is confined to, by the names of the records; None is everything."""

    organization: str | None = None  # an organization administrator's or identity provider's own
    models: Sequence[str] | None = None  # what a gateway may ask about
    organizations: Sequence[str] | None = None
    authority: str | None = None  # an officer's own
    person: str | None = None  # who the caller is: `ORGANIZATION/EXTERNAL_ID`


async def create_key(
    change: Change,
    name: str,
    roles: Sequence[Role],
    *,
    service: bool,
    expires_at: datetime | None = None,
    scope: Scope | None = None,
    made: tuple[str, Presented] | None = None,
) -> NewKey:
    """A key for the caller of this name, who is made if new. `Conflict` if it is on record with anything else.

    `Conflict` as well for a third key that is good at a time. `made` was made before, when it was requested.
    """
    if not name.strip():
        raise Invalid("a key belongs to a person or a service: give its name")
    kind = "service" if service else "person"
    wanted = sorted(roles)
    confined = await _confined(change.connection, scope or Scope(), wanted)
    new = insert(callers).values(id=f"cal_{uuid.uuid4().hex}", name=name, kind=kind, roles=wanted, **confined)
    await change.connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    # Locked, or two keys made at once would not see each other.
    caller = (await change.connection.execute(select(callers).where(callers.c.name == name).with_for_update())).one()
    if caller.kind != kind or sorted(caller.roles) != wanted:
        raise Conflict(f"{name} is a {caller.kind} with the roles {', '.join(caller.roles)}")
    if any(getattr(caller, column) != value for column, value in confined.items()):
        raise Conflict(f"{name} is confined to something else: give the new key a caller of its own")
    if len(await live_keys_of(change.connection, name)) >= LIVE_KEYS:
        raise Conflict(f"{name} has {LIVE_KEYS} keys that are good: revoke one first")
    text, presented = made or api_keys.create()
    await change.connection.execute(
        insert(keys).values(id=presented.id, caller_id=caller.id, hash=presented.hash, expires_at=expires_at)
    )
    change.details |= {"caller": caller.id, "key": presented.id, "roles": list(wanted)}
    return NewKey(presented.id, caller.id, text)


async def grant(change: Change, members: Mapping[str, Any], apart: Mapping[str, Any]) -> None:
    """The key that was requested: what it may by `members`, its hash in `apart`. `Invalid` or `Conflict`."""
    expires = members.get("expires")
    await create_key(
        change,
        members["name"],
        [Role(role) for role in members["roles"]],
        service=members["service"],
        expires_at=expires and datetime.fromisoformat(expires),
        scope=Scope(**{each.name: members.get(each.name) for each in fields(Scope)}),
        made=("", Presented(apart["key"], bytes.fromhex(apart["hash"]))),
    )


async def granted(connection: AsyncConnection, key: str) -> dict[str, Any]:
    """What a key may, and whose it is; never its hash."""
    person = (
        select(organizations.c.slug + "/" + people.c.external_id)
        .where(people.c.id == callers.c.person_id, organizations.c.id == people.c.organization_id)
        .scalar_subquery()
    )
    named = (
        callers.c.name, callers.c.kind, callers.c.roles, callers.c.organization_id, callers.c.authority_id,
        callers.c.models, callers.c.organizations, person.label("person"), keys.c.expires_at,
    )  # fmt: skip
    found = (await connection.execute(select(*named).join(keys).where(keys.c.id == key))).mappings().one()
    shown = {str(name): value for name, value in found.items()}
    return {**shown, "expires_at": shown["expires_at"] and timestamp(shown["expires_at"])}


def require_on_record(caller: Caller) -> None:
    """`NotPermitted` for whom the gate cannot tell from others: two names may be of one human.

    A person on record has one identity, whichever key or token they use, under whichever roles.
    """
    if caller.is_service or caller.person_id is None:
        what = "a service's key cannot give it, nor a key or token that names no person on record"
        raise NotPermitted(f"this is a person's own word: {what}", code="APPROVER_NOT_QUALIFIED")


async def keep(change: Change, caller: Caller) -> None:
    """Put a token's holder on record, as the token says: what they request or decide names them. A key's is there."""
    if not tokens.is_by_token(caller.id):
        return
    values = {
        "kind": "service" if caller.is_service else "person",
        "roles": sorted(caller.roles),
        "organization_id": caller.organization_id,
        "models": _sorted(caller.models),
        "organizations": _sorted(caller.organizations),
        "authority_id": caller.authority_id,
        "person_id": caller.person_id,
    }
    made = insert(callers).values(id=caller.id, name=caller.id, **values)
    await change.connection.execute(made.on_conflict_do_update(index_elements=["id"], set_=values))


def _sorted(codes: frozenset[str] | None) -> list[str] | None:
    return None if codes is None else sorted(codes)


async def _confined(connection: AsyncConnection, scope: Scope, roles: Sequence[str]) -> dict[str, Any]:
    """The scope as the caller's columns. `Invalid` if it does not fit the roles or names what is not on record."""
    is_own = bool(OF_AN_ORGANIZATION & set(roles))
    if is_own != (scope.organization is not None) or (is_own and len(roles) > 1):
        raise Invalid("an org_admin or scim has one organization and no other role, and nobody else has one")
    if Role.GATEWAY not in roles and (scope.models or scope.organizations):
        raise Invalid("only a gateway is confined to models and organizations")
    if (Role.OFFICER in roles) != (scope.authority is not None) or (Role.OFFICER in roles and len(roles) > 1):
        raise Invalid("an officer has one authority and no other role, and nobody else has one")
    own, office, person = scope.organization, scope.authority, scope.person
    return {
        "organization_id": None if own is None else await _id(connection, organizations.c.slug, own),
        "models": scope.models and await _ids(connection, models.c.id, scope.models),
        "organizations": scope.organizations and await _ids(connection, organizations.c.slug, scope.organizations),
        "authority_id": None if office is None else await _id(connection, authorities.c.slug, office),
        "person_id": None if person is None else await _person(connection, person),
    }


async def _person(connection: AsyncConnection, reference: str) -> str:
    query = (
        select(people.c.id).join(organizations).where(organizations.c.slug + "/" + people.c.external_id == reference)
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    if found is None:
        raise Invalid(f"{reference}: not on record: give ORGANIZATION/EXTERNAL_ID of a person")
    return found


async def _id(connection: AsyncConnection, names: Column[str], wanted: str) -> str:
    [found] = await _ids(connection, names, [wanted])
    return found


async def _ids(connection: AsyncConnection, names: Column[str], wanted: Sequence[str]) -> list[str]:
    found = await connection.execute(select(names, names.table.c.id).where(names.in_(wanted)))
    known: dict[str, str] = {row[0]: row[1] for row in found}
    if missing := sorted(set(wanted) - known.keys()):
        raise Invalid(f"{', '.join(missing)}: not on record")
    return sorted(known.values())


async def revoke_key(change: Change, identifier: str) -> None:
    revoked = await change.connection.execute(
        update(keys)
        .where(keys.c.id == identifier, keys.c.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(keys.c.id)
    )
    if revoked.one_or_none() is None:
        known = await change.connection.execute(select(keys.c.id).where(keys.c.id == identifier))
        if known.one_or_none() is None:
            raise NotFound("no such key")
        raise Conflict("the key was revoked before: nothing further is possible")
    change.details |= {"key": identifier}


async def live_keys_of(connection: AsyncConnection, name: str) -> list[str]:
    """Those that are neither revoked nor over."""
    good = keys.c.revoked_at.is_(None) & (keys.c.expires_at.is_(None) | (keys.c.expires_at > func.clock_timestamp()))
    found = await connection.execute(select(keys.c.id).join(callers).where(callers.c.name == name, good))
    return list(found.scalars())


async def page(connection: AsyncConnection, after: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
    """Keys in the order of their ids, each with its caller; never a hash."""
    columns = (keys.c.id, callers.c.name, callers.c.kind, callers.c.roles)
    query = select(*columns, *(keys.c[name] for name in TIMES)).join(callers).where(keys.c.id > (after or ""))
    found = await connection.execute(query.order_by(keys.c.id).limit(limit))
    return [{**row, **{name: row[name] and timestamp(row[name]) for name in TIMES}} for row in found.mappings()]


TIMES = ("created_at", "expires_at", "revoked_at")
