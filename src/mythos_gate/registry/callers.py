"""Callers: named people and services, and their API keys, of which only hashes are kept."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn import api_keys
from mythos_gate.errors import Conflict, Invalid, NotFound
from mythos_gate.registry.change import Change
from mythos_gate.tables import api_keys as keys
from mythos_gate.tables import callers, models, organizations
from mythos_gate.terms import Role


@dataclass(frozen=True, slots=True)
class NewKey:
    """`text` is the key itself: shown once, kept nowhere."""

    id: str
    caller: str
    text: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller is confined to, by the names of the records; None is everything."""

    organization: str | None = None  # an organization administrator's own
    models: Sequence[str] | None = None  # what a gateway may ask about
    organizations: Sequence[str] | None = None


async def create_key(
    change: Change,
    name: str,
    roles: Sequence[Role],
    *,
    service: bool,
    expires_at: datetime | None = None,
    scope: Scope | None = None,
) -> NewKey:
    """A key for the caller of this name, who is made if new. `Conflict` if it is on record with anything else."""
    if not name.strip():
        raise Invalid("a key belongs to a person or a service: give its name")
    kind = "service" if service else "person"
    wanted = sorted(roles)
    confined = await _confined(change.connection, scope or Scope(), wanted)
    made = insert(callers).values(id=f"cal_{uuid.uuid4().hex}", name=name, kind=kind, roles=wanted, **confined)
    await change.connection.execute(made.on_conflict_do_nothing(index_elements=["name"]))
    caller = (await change.connection.execute(select(callers).where(callers.c.name == name))).one()
    if caller.kind != kind or sorted(caller.roles) != wanted:
        raise Conflict(f"{name} is a {caller.kind} with the roles {', '.join(caller.roles)}")
    if any(getattr(caller, column) != value for column, value in confined.items()):
        raise Conflict(f"{name} is confined to something else: give the new key a caller of its own")
    text, presented = api_keys.create()
    await change.connection.execute(
        insert(keys).values(id=presented.id, caller_id=caller.id, hash=presented.hash, expires_at=expires_at)
    )
    change.details |= {"caller": caller.id, "key": presented.id, "roles": list(wanted)}
    return NewKey(presented.id, caller.id, text)


async def _confined(connection: AsyncConnection, scope: Scope, roles: Sequence[str]) -> dict[str, Any]:
    """The scope as the caller's columns. `Invalid` if it does not fit the roles or names what is not on record."""
    if (Role.ORG_ADMIN in roles) != (scope.organization is not None) or (Role.ORG_ADMIN in roles and len(roles) > 1):
        raise Invalid("an org_admin has one organization and no other role, and nobody else has one")
    if Role.GATEWAY not in roles and (scope.models or scope.organizations):
        raise Invalid("only a gateway is confined to models and organizations")
    own = None if scope.organization is None else (await _ids(connection, organizations.c.slug, [scope.organization]))
    return {
        "organization_id": own and own[0],
        "models": scope.models and await _ids(connection, models.c.id, scope.models),
        "organizations": scope.organizations and await _ids(connection, organizations.c.slug, scope.organizations),
    }


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
        raise NotFound(f"no live key {identifier}")
    change.details |= {"key": identifier}


async def live_keys_of(connection: AsyncConnection, name: str) -> list[str]:
    found = await connection.execute(
        select(keys.c.id).join(callers).where(callers.c.name == name, keys.c.revoked_at.is_(None))
    )
    return list(found.scalars())


async def list_keys(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every key with its caller, newest first; never a hash."""
    query = (
        select(keys.c.id, callers.c.name, callers.c.kind, callers.c.roles, keys.c.created_at, keys.c.expires_at)
        .add_columns(keys.c.revoked_at)
        .join(callers)
        .order_by(keys.c.created_at.desc())
    )
    return (await connection.execute(query)).all()
