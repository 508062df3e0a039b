"""Proposals: what widens access takes effect when a second officer confirms it, and not before."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, func, insert, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn import tokens
from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.caller import LEFT
from mythos_gate.errors import Conflict, NotFound, NotPermitted
from mythos_gate.registry import (
    assessments,
    callers,
    erasure,
    holds,
    jurisdictions,
    organizations,
    ownership,
    pruning,
    resources,
    screenings,
    standing,
    stops,
)
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.tables import authorities, proposals
from mythos_gate.terms import Permission, ProposalState, ProposedAction

BY_NAME = {resource.name: resource for resource in resources.RESOURCES}


@dataclass(frozen=True, slots=True)
class Subject:
    """What proposals can be about: its noun, and who may make and confirm them."""

    noun: str
    by: Permission = Permission.ADMINISTER


SUBJECTS = {
    **{
        resource.name: Subject(resource.noun, Permission.RUN_PROGRAMME if resource.is_staff else resource.may_write)
        for resource in resources.RESOURCES
    },
    "stops": Subject("stop"),
    "legal_holds": Subject("legal_hold", Permission.RUN_PROGRAMME),
    "log_entries": Subject("log", Permission.RUN_PROGRAMME),
    "ownerships": Subject("ownership"),
    "data_sets": Subject("data_set", Permission.RUN_PROGRAMME),
    "assessments": Subject("assessment", Permission.ASSESS),
    "screenings": Subject("screening", Permission.SCREEN),
}
DONE = {
    ProposedAction.CREATE: "created",
    ProposedAction.CHANGE: "changed",
    ProposedAction.ACTIVATE: "activated",
    ProposedAction.LIFT: "lifted",
    ProposedAction.REPLACE: "replaced",
    ProposedAction.ADJUDICATE: "adjudicated",
    ProposedAction.ERASE: "erased",
    ProposedAction.PRUNE: "pruned",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done: `reference` names the record, `members` and `etag` are those of its creation or change."""

    action: ProposedAction
    resource: str
    reference: str | None = None
    members: Mapping[str, Any] | None = None
    etag: str | None = None

    @property
    def subject(self) -> Subject:
        return SUBJECTS[self.resource]

    @property
    def type(self) -> str:
        """Of the log entry that tells that it was done."""
        return f"{self.subject.noun}_{DONE[self.action]}"


async def propose(change: Change, wanted: Wanted, writer: Writer) -> dict[str, Any]:
    """Tried out and undone, so that what cannot be done is told at once; then kept until somebody else decides."""
    wanted = await _bound(change, wanted, writer)
    authority = await _permitted(change.connection, wanted, writer)
    trial = await change.connection.begin_nested()
    await _do(change, wanted, writer)
    await trial.rollback()
    await callers.keep(change, writer.caller)
    identifier = f"prp_{uuid.uuid4().hex}"
    members = dict(wanted.members or {})
    apart = wanted.resource == "assessments"
    await change.connection.execute(
        insert(proposals).values(
            id=identifier,
            action=wanted.action,
            resource=wanted.resource,
            reference=wanted.reference,
            members={} if apart else members,
            etag=wanted.etag,
            proposed_by=writer.caller.id,
            authority_id=authority,
        )
    )
    if apart:
        await assessments.keep(change.connection, identifier, members)
    change.details.clear()
    about = {} if wanted.reference is None else {wanted.subject.noun: wanted.reference}
    change.details |= about | {"proposal": identifier, "proposed": wanted.type, "members": sorted(members)}
    return await read(change.connection, identifier, writer)


async def _bound(change: Change, wanted: Wanted, writer: Writer) -> Wanted:
    """Tied to the record as it is now: by its id, and by its tag where `*` was given."""
    connection, caller, reference = change.connection, writer.caller, wanted.reference or ""
    match wanted.resource, wanted.action:
        case "assessments", _:
            found = await assessments.read(connection, reference, caller)
        case "ownerships", _:
            found = await ownership.read(connection, reference)
        case "screenings", _:
            return replace(wanted, etag=(await screenings.read_hit(connection, wanted.members or {})).etag)
        case "log_entries", _:
            return replace(wanted, members=await pruning.bound(connection, wanted.members or {}))
        case "data_sets", _:
            base = await jurisdictions.in_force(connection)
            return replace(wanted, members={**(wanted.members or {}), "replaces": base})
        case _, ProposedAction.CHANGE | ProposedAction.ACTIVATE | ProposedAction.ERASE if wanted.resource in BY_NAME:
            found = await resources.read(connection, BY_NAME[wanted.resource], reference, caller)
        case _:
            return wanted
    anything = wanted.etag is None or "*" in {each.strip() for each in wanted.etag.split(",")}
    return replace(wanted, reference=found.id, etag=found.etag if anything else wanted.etag)


# Whose a record is: only officers of this authority decide, and compliance.
AUTHORITY_OF = {
    "authorities": "SELECT id FROM authorities WHERE id = :reference",
    "models": "SELECT authority_id FROM models WHERE id = :reference",
    "grants": "SELECT authority_id FROM grants WHERE id = :reference",
    "directives": "SELECT authority_id FROM directives WHERE id = :reference",
    "stops": "SELECT coalesce(s.authority_id, m.authority_id) FROM stops s LEFT JOIN models m ON m.id = s.model_id"
    " WHERE s.id = :reference",
}
EVERYTHING = "SELECT EXISTS (SELECT FROM stops WHERE id = :reference AND scope = 'everything')"


async def _permitted(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> str | None:
    """The authority concerned, if any. `NotPermitted` unless this writer may decide."""
    if not writer.may(wanted.subject.by):
        raise NotPermitted(f"this key may not decide about a {wanted.subject.noun.replace('_', ' ')}")
    if wanted.resource in {"organizations", "ownerships"}:
        await organizations.permit(connection, wanted.reference or "", writer.caller)
    authority = await _authority(connection, wanted)
    own, reference = writer.caller.authority_id, {"reference": wanted.reference}
    if own and (
        authority not in {None, own}
        or (wanted.resource == "stops" and (await connection.execute(text(EVERYTHING), reference)).scalar_one())
    ):
        raise NotPermitted(f"this {wanted.subject.noun} is not of the authority of this key")
    return authority


async def _authority(connection: AsyncConnection, wanted: Wanted) -> str | None:
    if wanted.action == ProposedAction.CREATE:
        named = select(authorities.c.id).where(
            authorities.c.slug == str((wanted.members or {}).get("authority")).strip()
        )
        return (await connection.execute(named)).scalar_one_or_none()
    if wanted.resource not in AUTHORITY_OF:
        return None
    found = await connection.execute(text(AUTHORITY_OF[wanted.resource]), {"reference": wanted.reference})
    return found.scalar_one_or_none()


PROPOSER = text(
    f"SELECT c.id, c.person_id, coalesce(c.person_id, c.id) AS identity, {LEFT} AS gone"  # noqa: S608
    " FROM callers c LEFT JOIN people p ON p.id = c.person_id WHERE c.id = :caller"
)


async def confirm(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """Do it, under both names.

    `NotPermitted` for who proposed it, `Conflict` if it is decided, `Outdated` if the record was changed since.
    """
    row, wanted = await _open(change, identifier, writer)
    if writer.caller.is_service:
        raise NotPermitted(
            "a service cannot confirm: a second officer must, and a token's holder only if on record",
            code="APPROVER_NOT_QUALIFIED",
        )
    proposer = (await change.connection.execute(PROPOSER, {"caller": row["proposed_by"]})).one()
    if proposer.identity == writer.caller.identity or proposer.id == writer.caller.id:
        what = "whoever proposed this cannot confirm it: a second officer must"
        raise NotPermitted(what, code="SELF_APPROVAL_FORBIDDEN")
    if not _are_told_apart(proposer, writer.caller):
        what = "a token's holder and a key's may be one person: give the key to a person on record"
        raise NotPermitted(what, code="APPROVER_NOT_QUALIFIED")
    if proposer.gone:
        raise Conflict("whoever proposed this has left or is suspended: propose it anew")
    change.type = wanted.type
    await _do(change, wanted, writer)
    await _decide(change, identifier, ProposalState.CONFIRMED, writer)
    change.details |= {"proposal": identifier, "proposed_by": row["proposed_by"]}
    return await read(change.connection, identifier, writer)


def _are_told_apart(proposer: Row[Any], caller: Caller) -> bool:
    """Whoever has both a token and a key is one person under two ids, unless both say who they are on record."""
    if tokens.is_by_token(proposer.id) == tokens.is_by_token(caller.id):
        return True
    return proposer.person_id is not None and caller.person_id is not None


async def withdraw(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """By whoever proposed it, or by another officer who refuses."""
    await _open(change, identifier, writer)
    await _decide(change, identifier, ProposalState.WITHDRAWN, writer)
    change.details |= {"proposal": identifier}
    return await read(change.connection, identifier, writer)


async def read(connection: AsyncConnection, identifier: str, writer: Writer) -> dict[str, Any]:
    query = select(proposals).where(proposals.c.id == identifier, _visible(writer))
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such proposal")
    return _shown(row)


async def page(
    connection: AsyncConnection, state: ProposalState | None, after: str | None, limit: int, writer: Writer
) -> Sequence[dict[str, Any]]:
    """In the order of their ids, behind the given one."""
    query = select(proposals).where(proposals.c.id > (after or ""), _visible(writer))
    query = query.order_by(proposals.c.id).limit(limit)
    rows = await connection.execute(query if state is None else query.where(proposals.c.state == state))
    return [_shown(row) for row in rows.mappings()]


def _visible(writer: Writer) -> ColumnElement[bool]:
    """What this caller may decide, or who may see all; an officer of that the own authority's, or no one's."""
    subjects = [name for name, subject in SUBJECTS.items() if writer.may(subject.by)]
    shown = true() if writer.may(Permission.EXPLAIN) else proposals.c.resource.in_(subjects)
    if writer.caller.authority_id is None:
        return shown
    own = writer.caller.authority_id
    theirs = text(organizations.THEIRS).bindparams(own=own).columns(proposals.c.id)
    # Owners may be natural persons.
    owners = (proposals.c.resource != "ownerships") | proposals.c.reference.in_(theirs)
    return shown & ((proposals.c.authority_id == own) | proposals.c.authority_id.is_(None)) & owners


async def _do(change: Change, wanted: Wanted, writer: Writer) -> None:
    reference, members, etag = wanted.reference or "", wanted.members or {}, wanted.etag or ""
    match wanted.resource, wanted.action:
        case "assessments", _:
            await assessments.replace(change, reference, members, etag, writer)
        case "ownerships", _:
            await _own(change, wanted, writer)
        case "screenings", _:
            await screenings.adjudicate(change, members, etag, writer)
        case "log_entries", _:
            await pruning.prune(change, members, writer.now)
        case "data_sets", _:
            await jurisdictions.activate(change, reference, members)
        case _, ProposedAction.CREATE:
            await resources.create(change, BY_NAME[wanted.resource], members, writer)
        case _, ProposedAction.CHANGE:
            await resources.alter(change, BY_NAME[wanted.resource], reference, members, etag, writer)
        case _, ProposedAction.ACTIVATE | ProposedAction.ERASE:
            await _step(change, wanted, writer)
        case _, ProposedAction.LIFT:
            await LIFTED[wanted.resource].lift(change, reference)


async def _own(change: Change, wanted: Wanted, writer: Writer) -> None:
    organization = await ownership.settle(change, wanted.reference or "", wanted.etag or "")
    if rows := ownership.rows(organization, wanted.members or {}):
        await resources.take_all(change, ownership.OWNERSHIPS, rows, writer.now)


LIFTED = {"stops": stops.ORDERS, "legal_holds": holds.ORDERS}


async def _step(change: Change, wanted: Wanted, writer: Writer) -> None:
    """Of the record as it was when that was proposed. `NotFound`, `Outdated`."""
    resource, reference = BY_NAME[wanted.resource], wanted.reference or ""
    before = await resources.read(change.connection, resource, reference, writer.caller)
    before.require(wanted.etag or "", wanted.subject.noun)
    if wanted.action == ProposedAction.ERASE:
        await erasure.erase(change, before, writer.now)
    else:
        await standing.activate(change, wanted.resource, reference)


async def _open(change: Change, identifier: str, writer: Writer) -> tuple[Mapping[str, Any], Wanted]:
    """What is undecided, and this writer may decide. `NotFound`, `NotPermitted` or `Conflict`."""
    query = select(proposals).where(proposals.c.id == identifier, _visible(writer)).with_for_update()
    row = (await change.connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such proposal")
    wanted = Wanted(ProposedAction(row["action"]), row["resource"], row["reference"], row["members"], row["etag"])
    await _permitted(change.connection, wanted, writer)
    if row["state"] != ProposalState.PROPOSED:
        raise Conflict(f"the proposal is {row['state']}: nothing further is possible")
    if wanted.resource == "assessments":
        wanted = replace(wanted, members=await assessments.kept(change.connection, identifier))
    return dict(row), wanted


async def _decide(change: Change, identifier: str, state: ProposalState, writer: Writer) -> None:
    await callers.keep(change, writer.caller)
    decided = update(proposals).where(proposals.c.id == identifier)
    await change.connection.execute(
        decided.values(state=state, decided_by=writer.caller.id, decided_at=func.clock_timestamp())
    )
    # What is decided stands in the records, if anywhere: nationality is not kept twice.
    await assessments.forget(change.connection, identifier)


def _shown(row: RowMapping) -> dict[str, Any]:
    times = {name: row[name] and timestamp(row[name]) for name in ("created_at", "decided_at")}
    return {str(name): value for name, value in row.items()} | times
