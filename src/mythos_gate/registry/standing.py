"""Standing: suspending and revoking organizations, grants, people and agents. Narrowing, so one person suffices."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import ColumnElement, Table, func, select, true, update

from mythos_gate import tables
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry import callers, organizations, places, seats
from mythos_gate.registry.change import Change
from mythos_gate.terms import (
    AgentStatus,
    Employment,
    EndpointStatus,
    GrantStatus,
    OrganizationStatus,
    PersonStatus,
    RequestedAction,
    RequestState,
)


@dataclass(frozen=True, slots=True)
class _Noun:
    """`steps`: for each status that can be set, the statuses from which it can be reached."""

    name: str
    table: Table
    steps: Mapping[str, frozenset[str]]
    column: str = "status"


def _steps(**steps: set[str]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({status: frozenset(sources) for status, sources in steps.items()})


ORGANIZATION = _Noun(
    "organization",
    tables.organizations,
    _steps(
        active={OrganizationStatus.PROSPECT, OrganizationStatus.SUSPENDED},
        suspended={OrganizationStatus.ACTIVE, OrganizationStatus.PROSPECT},
        terminated={OrganizationStatus.ACTIVE, OrganizationStatus.PROSPECT, OrganizationStatus.SUSPENDED},
    ),
)
GRANT = _Noun(
    "grant",
    tables.grants,
    _steps(
        active={GrantStatus.DRAFT, GrantStatus.SUSPENDED},
        suspended={GrantStatus.ACTIVE},
        revoked={GrantStatus.ACTIVE, GrantStatus.DRAFT, GrantStatus.SUSPENDED},
    ),
)
PERSON = _Noun("person", tables.people, _steps(active={PersonStatus.SUSPENDED}, suspended={PersonStatus.ACTIVE}))
EMPLOYMENT = _Noun(
    "person", tables.people, _steps(ended={Employment.EMPLOYEE, Employment.CONTRACTOR}), column="employment"
)
AGENT = _Noun(
    "agent",
    tables.agents,
    _steps(
        active={AgentStatus.SUSPENDED},
        suspended={AgentStatus.ACTIVE},
        revoked={AgentStatus.ACTIVE, AgentStatus.SUSPENDED},
    ),
)
ENDPOINT = _Noun("endpoint", tables.endpoints, _steps(retired={EndpointStatus.ACTIVE}))


@dataclass(frozen=True, slots=True)
class Standing:
    id: str
    status: str


async def suspend_organization(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    """`NotFound`, `NotPermitted`, or `Conflict` naming the present state and what is possible; likewise below."""
    await organizations.permit(change.connection, reference, caller)
    return await _set(change, ORGANIZATION, _by_slug(reference), "suspended", reason, caller)


async def revoke_organization(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    await organizations.permit(change.connection, reference, caller)
    return await _set(change, ORGANIZATION, _by_slug(reference), "terminated", reason, caller)


async def suspend_grant(change: Change, identifier: str, reason: str | None, caller: Caller) -> Standing:
    """None of another authority than an officer's."""
    return await _set(change, GRANT, _by_id(identifier, caller.authority_id), "suspended", reason, caller)


async def revoke_grant(change: Change, identifier: str, reason: str | None, caller: Caller) -> Standing:
    return await _set(change, GRANT, _by_id(identifier, caller.authority_id), "revoked", reason, caller)


async def suspend_person(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    """Seats end with the suspension."""
    standing = await _set(change, PERSON, _own(tables.people, reference, caller), "suspended", reason, caller)
    await seats.release(change.connection, [standing.id])
    return standing


async def revoke_person(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    """The employment ends, and with it the seats."""
    standing = await _set(change, EMPLOYMENT, _own(tables.people, reference, caller), "ended", reason, caller)
    await seats.release(change.connection, [standing.id])
    return standing


async def suspend_agent(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    return await _set(change, AGENT, _own(tables.agents, reference, caller), "suspended", reason, caller)


async def revoke_agent(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    return await _set(change, AGENT, _own(tables.agents, reference, caller), "revoked", reason, caller)


async def revoke_endpoint(change: Change, reference: str, reason: str | None, caller: Caller) -> Standing:
    """Retired: a device that comes back is enrolled anew."""
    return await _set(change, ENDPOINT, _own(tables.endpoints, reference, caller), "retired", reason, caller)


async def activate(change: Change, resource: str, reference: str) -> Standing:
    """Put in force what was prepared or suspended; widening, so a second officer has approved it."""
    noun, which = {
        "organizations": (ORGANIZATION, _by_slug(reference)),
        "grants": (GRANT, tables.grants.c.id == reference),
        "people": (PERSON, _by_name(tables.people, reference)),
        "agents": (AGENT, _by_name(tables.agents, reference)),
    }[resource]
    standing = await _set(change, noun, which, "active", None, None)
    if noun is GRANT:
        authority = select(tables.grants.c.authority_id).where(tables.grants.c.id == standing.id)
        await places.check(change, (await change.connection.execute(authority)).scalars())
    return standing


def _by_id(identifier: str, own: str | None) -> ColumnElement[bool]:
    grants = tables.grants.c
    return (grants.id == identifier) & (true() if own is None else grants.authority_id == own)


def _own(table: Table, reference: str, caller: Caller) -> ColumnElement[bool]:
    return _by_name(table, reference, caller.organization_id)


def _by_slug(reference: str) -> ColumnElement[bool]:
    return (tables.organizations.c.id == reference) | (tables.organizations.c.slug == reference)


def _by_name(table: Table, reference: str, own: str | None = None) -> ColumnElement[bool]:
    """By the gate's id or by `ORGANIZATION/EXTERNAL_ID`; with `own`, nothing of another organization's."""
    slug, slash, external_id = reference.partition("/")
    organization = select(tables.organizations.c.id).where(tables.organizations.c.slug == slug).scalar_subquery()
    named = (table.c.organization_id == organization) & (table.c.external_id == external_id)
    return (named if slash else table.c.id == reference) & (true() if own is None else table.c.organization_id == own)


async def _set(
    change: Change,
    noun: _Noun,
    which: ColumnElement[bool],
    status: str,
    reason: str | None,
    caller: Caller | None = None,
) -> Standing:
    """By the caller, unless it is put in force: that is a request's approval."""
    query = select(noun.table.c.id, noun.table.c[noun.column].label("status")).where(which)
    # Not stronger: an import that adds to an organization holds its key for long, and must not keep us waiting.
    row = (await change.connection.execute(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise NotFound(f"no such {noun.name}")
    undone = 0 if caller is None else await withdraw(change, row.id, RequestedAction.ACTIVATE, caller)
    if row.status == status and undone:  # what was requested meanwhile is no answer to this second one
        change.details |= {noun.name: row.id, "before": status, "after": status}
        return Standing(row.id, status)
    if row.status not in noun.steps[status]:
        possible = sorted(step for step, sources in noun.steps.items() if row.status in sources)
        rest = f"it can become {' or '.join(possible)}" if possible else "nothing further is possible"
        raise Conflict(f"the {noun.name} is {row.status} and cannot become {status}: {rest}")
    await change.connection.execute(
        update(noun.table).where(noun.table.c.id == row.id).values({noun.column: status, "status_reason": reason})
    )
    change.details |= {noun.name: row.id, "before": row.status, "after": status}
    return Standing(row.id, status)


async def withdraw(change: Change, identifier: str, action: RequestedAction, caller: Caller) -> int:
    """What somebody requested before a suspension or a stop is no answer to it; how many requests that were."""
    these = (
        tables.change_requests.c.reference == identifier,
        tables.change_requests.c.action == action,
        tables.change_requests.c.state == RequestState.REQUESTED,
    )
    if (await change.connection.execute(select(tables.change_requests.c.id).where(*these))).first() is None:
        return 0
    await callers.keep(change, caller)
    withdrawn = {"state": RequestState.WITHDRAWN, "decided_by": caller.id, "decided_at": func.clock_timestamp()}
    return (await change.connection.execute(update(tables.change_requests).where(*these).values(withdrawn))).rowcount
