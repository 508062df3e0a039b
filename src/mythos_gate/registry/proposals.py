"""Proposals: what widens access takes effect when a second officer confirms it, and not before."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Conflict, NotFound, NotPermitted
from mythos_gate.registry import resources, standing, stops
from mythos_gate.registry.change import Change
from mythos_gate.registry.resources import Resource, Writer
from mythos_gate.tables import proposals
from mythos_gate.terms import ProposalState, ProposedAction

BY_NAME = {resource.name: resource for resource in resources.RESOURCES}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done: `reference` names the record, `members` and `etag` are those of its creation or change."""

    action: ProposedAction
    resource: str
    reference: str | None = None
    members: Mapping[str, Any] | None = None
    etag: str | None = None

    @property
    def noun(self) -> str:
        return "stop" if self.resource == "stops" else BY_NAME[self.resource].noun

    @property
    def type(self) -> str:
        """Of the log entry that tells that it was done."""
        ending = {"create": "created", "change": "changed", "activate": "activated", "lift": "lifted"}[self.action]
        return f"{self.noun}_{ending}"


async def propose(change: Change, wanted: Wanted, writer: Writer) -> dict[str, Any]:
    """Tried out and undone, so that what cannot be done is told at once; then kept until somebody else decides."""
    wanted = await _bound(change, wanted, writer)
    trial = await change.connection.begin_nested()
    await _do(change, wanted, writer)
    await trial.rollback()
    identifier = f"prp_{uuid.uuid4().hex}"
    members = dict(wanted.members or {})
    await change.connection.execute(
        insert(proposals).values(
            id=identifier,
            action=wanted.action,
            resource=wanted.resource,
            reference=wanted.reference,
            members=members,
            etag=wanted.etag,
            proposed_by=writer.caller.id,
        )
    )
    change.details.clear()
    change.details |= {"proposal": identifier, "proposed": wanted.type, "members": sorted(members)}
    return await read(change.connection, identifier)


async def _bound(change: Change, wanted: Wanted, writer: Writer) -> Wanted:
    """Tied to the record as it is now: by its id, and by its tag where `*` was given."""
    if wanted.action not in {ProposedAction.CHANGE, ProposedAction.ACTIVATE}:
        return wanted
    found = await resources.read(change.connection, _resource(wanted), wanted.reference or "", writer.caller)
    return replace(wanted, reference=found.id, etag=found.etag if wanted.etag == "*" else wanted.etag)


async def confirm(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """Do it, under both names.

    `NotPermitted` for who proposed it, `Conflict` if it is decided, `Outdated` if the record was changed since.
    """
    row = await _open(change, identifier)
    if writer.caller.is_service:
        raise NotPermitted("a service cannot confirm: a second officer must")
    if row["proposed_by"] == writer.caller.id:
        raise NotPermitted("whoever proposed this cannot confirm it: a second officer must")
    wanted = Wanted(row["action"], row["resource"], row["reference"], row["members"], row["etag"])
    change.type = wanted.type
    await _do(change, wanted, writer)
    await _decide(change, identifier, ProposalState.CONFIRMED, writer)
    change.details |= {"proposal": identifier, "proposed_by": row["proposed_by"]}
    return await read(change.connection, identifier)


async def withdraw(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """By whoever proposed it, or by another officer who refuses."""
    await _open(change, identifier)
    await _decide(change, identifier, ProposalState.WITHDRAWN, writer)
    change.details |= {"proposal": identifier}
    return await read(change.connection, identifier)


async def read(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    query = select(proposals).where(proposals.c.id == identifier)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such proposal")
    return _shown(row)


async def page(
    connection: AsyncConnection, state: ProposalState | None, after: str | None, limit: int
) -> Sequence[dict[str, Any]]:
    """In the order of their ids, behind the given one."""
    query = select(proposals).where(proposals.c.id > (after or "")).order_by(proposals.c.id).limit(limit)
    rows = await connection.execute(query if state is None else query.where(proposals.c.state == state))
    return [_shown(row) for row in rows.mappings()]


async def _do(change: Change, wanted: Wanted, writer: Writer) -> None:
    reference, members = wanted.reference or "", wanted.members or {}
    match wanted.action:
        case ProposedAction.CREATE:
            await resources.create(change, _resource(wanted), members, writer)
        case ProposedAction.CHANGE:
            await resources.alter(change, _resource(wanted), reference, members, wanted.etag or "", writer)
        case ProposedAction.ACTIVATE:
            await standing.activate(change, wanted.resource, reference)
        case ProposedAction.LIFT:
            await stops.lift(change, reference)


def _resource(wanted: Wanted) -> Resource:
    return BY_NAME[wanted.resource]


async def _open(change: Change, identifier: str) -> Mapping[str, Any]:
    query = select(proposals).where(proposals.c.id == identifier).with_for_update()
    row = (await change.connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such proposal")
    if row["state"] != ProposalState.PROPOSED:
        raise Conflict(f"the proposal is {row['state']}: nothing further is possible")
    return {**row, "action": ProposedAction(row["action"])}


async def _decide(change: Change, identifier: str, state: ProposalState, writer: Writer) -> None:
    decided = update(proposals).where(proposals.c.id == identifier)
    await change.connection.execute(
        decided.values(state=state, decided_by=writer.caller.id, decided_at=func.clock_timestamp())
    )


def _shown(row: RowMapping) -> dict[str, Any]:
    times = {name: row[name] and timestamp(row[name]) for name in ("created_at", "decided_at")}
    return {str(name): value for name, value in row.items()} | times
