"""Change requests: what widens access takes effect when a second person approves it, and not before."""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, RowMapping, case, delete, func, insert, literal, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.caller import LEFT
from mythos_gate.errors import Conflict, NotFound, NotPermitted, Outdated
from mythos_gate.registry import callers, organizations, widening
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.policy_reports import Needs
from mythos_gate.registry.widening import SUBJECTS, Effect, Wanted
from mythos_gate.tables import change_request_approvals as approvals
from mythos_gate.tables import change_request_contents as contents
from mythos_gate.tables import change_requests as requests
from mythos_gate.terms import Permission, RequestedAction, RequestState

# What the hash is of, together with what is kept apart.
HASHED = (
    "id", "action", "resource", "reference", "members", "before", "after", "etag", "requested_by", "authority_id",
    "expires_at",
)  # fmt: skip
TIMES = ("created_at", "expires_at", "decided_at")


@dataclass(frozen=True, slots=True)
class Decision:
    """`sha256` names what was seen; `reason` stays with the record, never in the log.

    `acknowledged`: ids of people whom a policy newly allows.
    """

    sha256: str
    reason: str | None = None
    acknowledged: frozenset[str] = frozenset()


async def request(change: Change, wanted: Wanted, writer: Writer) -> dict[str, Any]:
    """Tried out and undone, so that what cannot be done is told at once; then kept until somebody else decides.

    `NotPermitted` for whoever is not on record; an identity provider asks in its organization's name.
    """
    if not writer.caller.is_provider:
        callers.require_on_record(writer.caller)
    wanted = await widening.bound(change.connection, wanted, writer)
    authority = await widening.permit(change.connection, wanted, writer)
    wanted = await widening.simulated(change.connection, wanted, writer)
    if (await widening.needs(change.connection, wanted)).approvals > 1:
        authority = None  # officers of each are to decide
    wanted = replace(wanted, by=[writer.caller.identity])
    trial = await change.connection.begin_nested()
    effect = await widening.do(change, wanted, writer)
    await trial.rollback()
    await callers.keep(change, writer.caller)
    row = _row(wanted, effect, writer, authority)
    salt = secrets.token_hex(16)
    apart = _apart(wanted, effect, salt)
    row |= {"salt": None if apart else salt, "sha256": _digest(row, apart or {"salt": salt})}
    await change.connection.execute(insert(requests).values(row))
    if apart:
        await change.connection.execute(delete(contents).where(contents.c.change_request_id.in_(_over(writer.now))))
        await change.connection.execute(insert(contents).values(change_request_id=row["id"], members=apart))
    change.forget()
    about = {} if wanted.reference is None else {wanted.subject.noun: wanted.reference}
    members = sorted({**(wanted.members or {}), **(wanted.apart or {})})
    asked = {"change_request": row["id"], "requested": wanted.type, "members": members, "sha256": row["sha256"]}
    change.details |= about | asked
    return await read(change.connection, row["id"], writer)


def _row(wanted: Wanted, effect: Effect, writer: Writer, authority: str | None) -> dict[str, Any]:
    shown = Effect({}, {}) if wanted.subject.is_private else effect
    return {
        "id": f"chg_{uuid.uuid4().hex}",
        "action": wanted.action,
        "resource": wanted.resource,
        "reference": wanted.reference,
        "members": dict(wanted.members or {}),
        "before": dict(shown.before),
        "after": dict(shown.after),
        "etag": wanted.etag,
        "requested_by": writer.caller.id,
        "authority_id": authority,
        "expires_at": writer.until,
        "simulation": wanted.simulation,
    }


def _apart(wanted: Wanted, effect: Effect, salt: str) -> dict[str, Any] | None:
    """With the salt, so that nobody else can try which of a few possible values the hash is of."""
    if wanted.apart is None:
        return None
    differing = {"before": dict(effect.before), "after": dict(effect.after)} if wanted.subject.is_private else {}
    standing = {"standing": effect.standing} if effect.standing else {}
    return {"members": dict(wanted.apart), "salt": salt, **differing, **standing}


def _digest(row: Mapping[str, Any], apart: Mapping[str, Any]) -> str:
    """SHA-256 of the request as JSON with sorted keys; `apart` holds the salt."""
    rests = {"simulation": row["simulation"]} if row["simulation"] else {}
    asked = (
        {name: row[name] for name in HASHED}
        | rests
        | {"expires_at": timestamp(row["expires_at"]), "apart": dict(apart)}
    )
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


# --- deciding -------------------------------------------------------------------------------------------------

REQUESTER = text(
    "SELECT c.id, c.authority_id, c.person_id, c.person_id IS NOT NULL OR 'scim' = ANY (c.roles) AS is_known,"  # noqa: S608
    f" {LEFT} AS gone FROM callers c LEFT JOIN people p ON p.id = c.person_id WHERE c.id = :caller"
)


async def approve(change: Change, identifier: str, decision: Decision, writer: Writer) -> dict[str, Any]:
    """Do it, under both names; or keep the approval, where others have to approve it as well.

    `NotPermitted` for who requested it, `Conflict` if it is decided or has expired, `Outdated` if it is not what the
    decision names, or what it would change is not what it was.
    """
    row = await _open(change, identifier, writer)
    apart = await _kept(change.connection, identifier) if row["salt"] is None else {"salt": row["salt"]}
    if decision.sha256 != row["sha256"] or _digest(row, apart) != row["sha256"]:
        raise Outdated("the change request is not the one that sha256 names: read it again")
    wanted, requester = _wanted(row, apart), await _require_another(change.connection, row, writer.caller)
    if requester.gone or not requester.is_known:
        raise Conflict("whoever requested this has left, is suspended or is not on record: request it anew")
    if writer.caller.person_id in await widening.subjects(change.connection, wanted, row):
        raise NotPermitted("nobody approves what is about themselves", code="SELF_APPROVAL_FORBIDDEN")
    needs = await widening.needs(change.connection, wanted)
    doer = widening.together(writer) if needs.approvals > 1 else writer
    await widening.require_simulated(change.connection, wanted, doer)
    await _require_qualified(change, wanted, needs, decision, writer)
    if needs.approvals > 1:
        given = await _keep(change, identifier, decision, writer)
        if not _suffice(given, wanted, needs, requester.authority_id):
            held = await read(change.connection, identifier, writer)
            return held | ({"code": widening.EXCEEDED} if wanted.simulation else {})
        wanted = replace(wanted, by=[requester.person_id, *(each.person_id for each in given)])
    await _carry_out(change, wanted, row, apart, doer)
    await _decide(change, identifier, RequestState.APPROVED, decision.reason, writer)
    change.details |= {"requested_by": row["requested_by"], "request_sha256": row["sha256"]}
    return await read(change.connection, identifier, writer)


async def _require_qualified(change: Change, wanted: Wanted, needs: Needs, decision: Decision, writer: Writer) -> None:
    """`NotPermitted` for whoever cannot give this approval, or does not name whom it has to."""
    if needs.approvals == 1 and not widening.may(writer, wanted.subject):
        raise NotPermitted("this takes no officer of an authority: compliance approves it")
    if needs.approvals == 1 or writer.may(Permission.RUN_PROGRAMME):
        await widening.require_acknowledged(change.connection, wanted, decision.acknowledged, writer)


async def _keep(change: Change, identifier: str, decision: Decision, writer: Writer) -> Sequence[Row[Any]]:
    """All approvals that were given, this one the last. `NotPermitted` for a second one of the same person."""
    given = select(approvals).where(approvals.c.change_request_id == identifier).order_by(approvals.c.created_at)
    caller = writer.caller
    if caller.person_id in {each.person_id for each in await change.connection.execute(given)}:
        what = "you approved this already, whatever your role: another person must"
        raise NotPermitted(what, code="POLICY_CHANGE_APPROVAL_INCOMPLETE")
    row = {
        "change_request_id": identifier,
        "approved_by": caller.id,
        "person_id": caller.person_id,
        "authority_id": caller.authority_id,
        "acknowledged": len(decision.acknowledged),
        "reason": decision.reason,
    }
    await callers.keep(change, caller)
    await change.connection.execute(insert(approvals).values(row))
    found = (await change.connection.execute(given)).all()
    change.details |= {"change_request": identifier, "approvals": len(found)}
    return found


def _suffice(given: Sequence[Row[Any]], wanted: Wanted, needs: Needs, requested_for: str | None) -> bool:
    """Whether nobody else has to. What was simulated takes one of another authority than the requester's."""
    authorities = {each.authority_id for each in given} - {None, requested_for}
    return (
        len(given) >= needs.approvals
        and (bool(authorities) or wanted.simulation is None)
        and max(each.acknowledged for each in given) >= needs.acknowledge
    )


async def _carry_out(
    change: Change, wanted: Wanted, row: Mapping[str, Any], apart: Mapping[str, Any], writer: Writer
) -> None:
    """`Outdated` if it would not change what was shown when it was requested."""
    change.type = wanted.type
    effect = await widening.do(change, wanted, writer)
    seen = apart if wanted.subject.is_private else row
    if (_plain(effect.before), _plain(effect.after)) != (seen["before"], seen["after"]):
        raise Outdated("what it would change was changed since: request it anew")
    if effect.standing != apart.get("standing"):
        raise Outdated("what it speaks of was changed since: request it anew")
    if writer.caller.person_id in effect.people:
        raise NotPermitted("nobody approves what is about themselves", code="SELF_APPROVAL_FORBIDDEN")


async def reject(change: Change, identifier: str, reason: str, writer: Writer) -> dict[str, Any]:
    """By another officer. `NotPermitted` for who requested it, `Conflict` if it is decided or has expired."""
    row = await _open(change, identifier, writer)
    await _require_another(change.connection, row, writer.caller)
    await _decide(change, identifier, RequestState.REJECTED, reason, writer)
    return await read(change.connection, identifier, writer)


async def withdraw(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """By whoever requested it, under the same name. `NotPermitted` for anybody else, `Conflict` if it is too late."""
    row = await _open(change, identifier, writer)
    if row["requested_by"] != writer.caller.id:
        raise NotPermitted("only whoever requested a change withdraws it: reject it, with a reason")
    await _decide(change, identifier, RequestState.WITHDRAWN, None, writer)
    return await read(change.connection, identifier, writer)


async def _require_another(connection: AsyncConnection, row: Mapping[str, Any], caller: Caller) -> Row[Any]:
    """Who requested it: `NotPermitted` unless the caller is another natural person, whatever key or role they use."""
    callers.require_on_record(caller)
    requester = (await connection.execute(REQUESTER, {"caller": row["requested_by"]})).one()
    if requester.id == caller.id:
        what = "whoever requested this cannot decide it: a second officer must"
        raise NotPermitted(what, code="SELF_APPROVAL_FORBIDDEN")
    if requester.person_id == caller.person_id:
        what = "you requested this under another name: a second person must decide it"
        raise NotPermitted(what, code="POLICY_CHANGE_APPROVAL_INCOMPLETE")
    return requester


async def _open(change: Change, identifier: str, writer: Writer) -> dict[str, Any]:
    """What is undecided, and this writer may decide. `NotFound`, `NotPermitted` or `Conflict`."""
    query = _query(writer).where(requests.c.id == identifier).with_for_update(of=requests)
    found = (await change.connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("no such change request")
    row = dict(found)
    await widening.permit(change.connection, _wanted(row, {}), writer, deciding=True)
    if row["state"] == RequestState.EXPIRED:
        raise Conflict("the change request has expired: request it anew")
    if row["state"] != RequestState.REQUESTED:
        raise Conflict(f"the change request is {row['state']}: nothing further is possible")
    return row


def _wanted(row: Mapping[str, Any], apart: Mapping[str, Any]) -> Wanted:
    action = RequestedAction(row["action"])
    kept = (row["members"], row["etag"], apart.get("members"), row["simulation"])
    return Wanted(action, row["resource"], row["reference"], *kept)


def _plain(members: Mapping[str, Any]) -> Any:
    """As it comes back from the database."""
    return orjson.loads(orjson.dumps(dict(members)))


async def _decide(change: Change, identifier: str, state: RequestState, reason: str | None, writer: Writer) -> None:
    await callers.keep(change, writer.caller)
    decided = {
        "state": state,
        "decided_by": writer.caller.id,
        "decided_at": func.clock_timestamp(),
        "reason": reason,
    }
    await change.connection.execute(update(requests).where(requests.c.id == identifier).values(decided))
    # What is decided stands in the records, if anywhere: nationality is not kept twice.
    await change.connection.execute(delete(contents).where(contents.c.change_request_id == identifier))
    change.details |= {"change_request": identifier}


async def _kept(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """What is kept apart, with the salt; compliance alone reads it."""
    query = select(contents.c.members).where(contents.c.change_request_id == identifier)
    found: dict[str, Any] | None = (await connection.execute(query)).scalar_one_or_none()
    return found or {}


# --- reading --------------------------------------------------------------------------------------------------


async def read(connection: AsyncConnection, identifier: str, writer: Writer) -> dict[str, Any]:
    row = (await connection.execute(_query(writer).where(requests.c.id == identifier))).mappings().one_or_none()
    if row is None:
        raise NotFound("no such change request")
    if writer.caller.organization_id is not None:  # of what takes several they request nothing
        return _shown(row)
    given = select(approvals.c.approved_by, approvals.c.created_at).where(approvals.c.change_request_id == identifier)
    found = await connection.execute(given.order_by(approvals.c.created_at))
    listed = [{"approved_by": each.approved_by, "at": timestamp(each.created_at)} for each in found]
    return _shown(row) | ({"approvals": listed} if listed else {})


async def read_files(change: Change, identifier: str, writer: Writer) -> list[dict[str, str]]:
    """Kind and text of each file that waits to be imported, for whoever may decide about it; the log tells.

    `NotFound` if there are none, `NotPermitted`, `Conflict` if it is decided or has expired.
    """
    row = await _open(change, identifier, writer)
    apart = await _kept(change.connection, identifier)
    if row["action"] != RequestedAction.IMPORT or not apart:
        raise NotFound("no files wait with this change request")
    change.details |= {"change_request": identifier}
    files: list[dict[str, str]] = apart["members"]["files"]
    return files


async def page(
    connection: AsyncConnection, state: RequestState | None, after: str | None, limit: int, writer: Writer
) -> Sequence[dict[str, Any]]:
    """In the order of their ids, behind the given one."""
    query = _query(writer).where(requests.c.id > (after or "")).order_by(requests.c.id).limit(limit)
    rows = await connection.execute(query if state is None else query.where(_state(writer.now) == state))
    return [_shown(row) for row in rows.mappings()]


async def is_waiting(connection: AsyncConnection, action: RequestedAction, reference: str, now: datetime) -> bool:
    """Whether somebody has requested this, and nobody decided yet."""
    these = (requests.c.action == action, requests.c.reference == reference, _state(now) == RequestState.REQUESTED)
    return (await connection.execute(select(requests.c.id).where(*these))).first() is not None


def _query(writer: Writer) -> Any:
    """Those that the writer may see, each with the state that it is in now."""
    columns = [column for column in requests.c if column.name != "state"]
    return select(*columns, _state(writer.now).label("state")).where(_visible(writer))


def _state(now: datetime) -> ColumnElement[str]:
    """Nothing is written when a request expires: it can wait for nobody who would."""
    return case((_is_over(now), literal(RequestState.EXPIRED.value)), else_=requests.c.state)


def _is_over(now: datetime) -> ColumnElement[bool]:
    return (requests.c.state == RequestState.REQUESTED) & (requests.c.expires_at <= now)


def _over(now: datetime) -> Any:
    """Those that nobody decided in time: what they hold apart is of no more use."""
    return select(requests.c.id).where(_is_over(now))


def _visible(writer: Writer) -> ColumnElement[bool]:
    """What this caller may decide, or who may see all; an officer of that the own authority's, or no one's."""
    subjects = [name for name, subject in SUBJECTS.items() if widening.may(writer, subject, deciding=True)]
    shown = true() if writer.may(Permission.EXPLAIN) else requests.c.resource.in_(subjects)
    if writer.caller.authority_id is None:
        return shown
    own = writer.caller.authority_id
    theirs = text(organizations.THEIRS).bindparams(own=own).columns(requests.c.id)
    # Owners may be natural persons.
    owners = (requests.c.resource != "ownerships") | requests.c.reference.in_(theirs)
    return shown & ((requests.c.authority_id == own) | requests.c.authority_id.is_(None)) & owners


def _shown(row: RowMapping) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()} | {
        name: row[name] and timestamp(row[name]) for name in TIMES
    }
