"""Groups of an organization's identity provider: they record who is in them, and give nobody anything."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid, NotFound, Taken
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.provisioning import LONGEST, Entry, Page
from mythos_gate.tables import scim_groups

GROUPS = """
SELECT g.id, g.display_name, g.external_id, g.created_at, g.changed_at,
  ARRAY(SELECT person_id FROM scim_members WHERE group_id = g.id ORDER BY 1) AS members
"""
THEIRS = " FROM scim_groups g WHERE g.organization_id = :own"
EQUAL = {
    "id": "g.id = :id",
    "displayName": "lower(g.display_name) = lower(:displayName)",
    "externalId": "g.external_id = :externalId",
}


async def read(connection: AsyncConnection, caller: Caller, identifier: str, *, lock: bool = False) -> Entry:
    """By the gate's id. `NotFound`, also for another organization's."""
    end = " AND g.id = :id" + (" FOR UPDATE OF g" if lock else "")
    found = await connection.execute(text(GROUPS + THEIRS + end), {"own": caller.organization_id, "id": identifier})
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound("no such group")
    return _entry(row)


async def page(connection: AsyncConnection, caller: Caller, equal: Mapping[str, str], offset: int, limit: int) -> Page:
    """Those whose attributes are equal to these, in the order of their ids."""
    these = THEIRS + "".join(f" AND {EQUAL[name]}" for name in equal)
    values = {"own": caller.organization_id, "offset": offset, "limit": limit, **equal}
    total = (await connection.execute(text("SELECT count(*)" + these), values)).scalar_one()
    found = await connection.execute(text(GROUPS + these + " ORDER BY g.id OFFSET :offset LIMIT :limit"), values)
    return Page(total, [_entry(row) for row in found.mappings()])


def _entry(row: RowMapping) -> Entry:
    members = [{"value": each, "$ref": f"Users/{each}", "type": "User"} for each in row["members"]]
    names = {"id": row["id"], "displayName": row["display_name"], "externalId": row["external_id"]}
    return Entry({**names, "members": members or None}, row["created_at"], row["changed_at"])


async def create(change: Change, group: Mapping[str, Any], writer: Writer) -> str:
    """Its id; `Invalid`, or `Taken`."""
    change.type, identifier = "group_created", f"grp_{uuid.uuid4().hex}"
    new = insert(scim_groups).values(id=identifier, organization_id=writer.caller.organization_id, **_columns(group))
    await _written(change, new)
    await _fill(change, identifier, group, writer.caller)
    change.details |= {"group": identifier}
    return identifier


async def replace(change: Change, identifier: str, group: Mapping[str, Any], writer: Writer) -> None:
    """The group as the provider has it now. `NotFound`, `Invalid`, `Taken`."""
    await read(change.connection, writer.caller, identifier, lock=True)
    change.type = "group_changed"
    values = {**_columns(group), "changed_at": func.clock_timestamp()}
    await _written(change, update(scim_groups).where(scim_groups.c.id == identifier).values(values))
    await _fill(change, identifier, group, writer.caller)
    change.details |= {"group": identifier}


async def remove(change: Change, identifier: str, writer: Writer) -> None:
    """The group and who is in it, not the people. `NotFound`."""
    await read(change.connection, writer.caller, identifier, lock=True)
    change.type = "group_deleted"
    await change.connection.execute(delete(scim_groups).where(scim_groups.c.id == identifier))
    change.details |= {"group": identifier}


def _columns(group: Mapping[str, Any]) -> dict[str, str | None]:
    names = {"display_name": group["displayName"], "external_id": group.get("externalId")}
    if any(value is not None and not 0 < len(value) <= LONGEST for value in names.values()):
        raise Invalid(f"displayName, externalId: have 1 to {LONGEST} characters")
    return names


async def _written(change: Change, statement: Any) -> None:
    try:
        await change.connection.execute(statement)
    except IntegrityError:
        raise Taken("externalId: another group has it") from None


# Who is not a user of the organization is left out: that somebody is another one's is not told.
FILL = text("""
WITH wanted AS (
  SELECT p.id FROM people p LEFT JOIN scim_users s ON s.person_id = p.id
  WHERE p.organization_id = :own AND p.id = ANY (:members) AND p.status <> 'erased' AND s.deleted_at IS NULL
), gone AS (
  DELETE FROM scim_members WHERE group_id = :group AND person_id NOT IN (SELECT id FROM wanted)
)
INSERT INTO scim_members (group_id, person_id, organization_id) SELECT :group, id, :own FROM wanted
ON CONFLICT DO NOTHING
""")


async def _fill(change: Change, identifier: str, group: Mapping[str, Any], caller: Caller) -> None:
    members = [each["value"] for each in group.get("members") or () if each.get("value")]
    values = {"group": identifier, "own": caller.organization_id, "members": members}
    await change.connection.execute(FILL, values)
