"""Widening: what may give access to somebody, so that a second person approves it; who may, and how it is done."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.authn import api_keys
from mythos_gate.errors import NotPermitted
from mythos_gate.registry import (
    assessments,
    break_glass,
    callers,
    drafting,
    erasure,
    files,
    holds,
    jurisdictions,
    organizations,
    ownership,
    policies,
    policy_cases,
    policy_reports,
    pruning,
    resources,
    screenings,
    standing,
    stops,
)
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.policy_reports import Draft, Needs
from mythos_gate.registry.resources import BY_NAME, PREPARED
from mythos_gate.tables import authorities
from mythos_gate.terms import Permission, RequestedAction


@dataclass(frozen=True, slots=True)
class Subject:
    """What change requests can be about: its noun, and who may make and decide them.

    `is_private`: what it says is of nationality, before and after alike, and is read by compliance alone.
    """

    noun: str
    by: Permission = Permission.ADMINISTER
    is_private: bool = False
    decided_by: Permission | None = None  # where others than those who request may decide


SUBJECTS = {
    **{
        resource.name: Subject(resource.noun, Permission.RUN_PROGRAMME if resource.is_staff else resource.may_write)
        for resource in resources.RESOURCES
    },
    "stops": Subject("stop"),
    "legal_holds": Subject("legal_hold", Permission.RUN_PROGRAMME),
    "log_entries": Subject("log", Permission.RUN_PROGRAMME),
    "ownerships": Subject("ownership"),
    "data_sets": Subject("data_set", Permission.RUN_PROGRAMME, decided_by=Permission.APPROVE_POLICY),
    "assessments": Subject("assessment", Permission.ASSESS, is_private=True),
    "screenings": Subject("screening", Permission.SCREEN),
    "keys": Subject("key", Permission.RUN_PROGRAMME),
    "policies": Subject("policy", Permission.ACTIVATE_POLICY, decided_by=Permission.APPROVE_POLICY),
    "policy_cases": Subject("policy_case", Permission.ACTIVATE_POLICY),
    "break_glasses": Subject("break_glass"),
    "files": Subject("file", Permission.IMPORT),
}
DONE = {
    RequestedAction.CREATE: "created",
    RequestedAction.CHANGE: "changed",
    RequestedAction.ACTIVATE: "activated",
    RequestedAction.LIFT: "lifted",
    RequestedAction.REPLACE: "replaced",
    RequestedAction.ADJUDICATE: "adjudicated",
    RequestedAction.ERASE: "erased",
    RequestedAction.PRUNE: "pruned",
    RequestedAction.IMPORT: "imported",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done: `reference` names the record, `members` and `etag` are those of its creation or change.

    `apart`: members that compliance alone may read, until it is decided. `simulation`: the report that it rests on.
    `by`: who requests it and then who has approved it, by their ids on record, where that is part of what is done.
    """

    action: RequestedAction
    resource: str
    reference: str | None = None
    members: Mapping[str, Any] | None = None
    etag: str | None = None
    apart: Mapping[str, Any] | None = None
    simulation: str | None = None
    by: Sequence[str] = ()

    @property
    def subject(self) -> Subject:
        return SUBJECTS[self.resource]

    @property
    def type(self) -> str:
        """Of the log entry that tells that it was done."""
        if self.resource == "policies" and policies.is_rollout(self.members or {}):
            return "policy_rollout_started"
        if self.resource == "break_glasses":
            return "break_glass_opened"
        done = DONE[self.action]
        return done if self.action == RequestedAction.IMPORT else f"{self.subject.noun}_{done}"


def new_key(members: Mapping[str, Any]) -> tuple[str, Wanted]:
    """A new key's text, and the request for it, which has only its hash: shown once, kept nowhere."""
    text, presented = api_keys.create()
    apart = {"key": presented.id, "hash": presented.hash.hex()}
    return text, Wanted(RequestedAction.CREATE, "keys", members=members, apart=apart)


@dataclass(frozen=True, slots=True)
class Effect:
    """The members that differ, as they are before and after it.

    `standing`: SHA-256 of what it rests on, where these do not show it. `people`: whom it turned out to be about.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    standing: str | None = None
    people: frozenset[str] = frozenset()


async def bound(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> Wanted:
    """Tied to the record as it is now: by its id, and by its tag where `*` was given."""
    caller, reference = writer.caller, wanted.reference or ""
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
            await jurisdictions.require(connection, reference)
            base = await jurisdictions.in_force(connection)
            return replace(wanted, members={**(wanted.members or {}), "replaces": base})
        case "policies", _:
            await policies.number(connection, reference)
            policies.require_ahead(wanted.members or {}, writer.now)
            return wanted
        case _, RequestedAction.CHANGE | RequestedAction.ACTIVATE | RequestedAction.ERASE if wanted.resource in BY_NAME:
            found = await resources.read(connection, BY_NAME[wanted.resource], reference, caller)
        case _:
            return wanted
    anything = wanted.etag is None or "*" in {each.strip() for each in wanted.etag.split(",")}
    return replace(wanted, reference=found.id, etag=found.etag if anything else wanted.etag)


# --- who may --------------------------------------------------------------------------------------------------

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


def may(writer: Writer, subject: Subject, *, deciding: bool = False) -> bool:
    return writer.may((subject.decided_by if deciding else None) or subject.by)


async def permit(connection: AsyncConnection, wanted: Wanted, writer: Writer, *, deciding: bool = False) -> str | None:
    """The authority concerned, if any. `NotPermitted` unless this writer may request it, or decide it."""
    if not may(writer, wanted.subject, deciding=deciding):
        raise NotPermitted(f"this key may not decide about a {wanted.subject.noun.replace('_', ' ')}")
    if wanted.resource in {"organizations", "ownerships"}:
        await organizations.permit(connection, wanted.reference or "", writer.caller)
    authority = await _authority(connection, wanted)
    own, reference = writer.caller.authority_id, {"reference": wanted.reference}
    if deciding and (await needs(connection, wanted)).approvals > 1:
        return authority  # of whom one is to be of another authority
    if own and (
        authority not in {None, own}
        or (wanted.resource == "stops" and (await connection.execute(text(EVERYTHING), reference)).scalar_one())
    ):
        raise NotPermitted(f"this {wanted.subject.noun} is not of the authority of this key")
    return authority


async def _authority(connection: AsyncConnection, wanted: Wanted) -> str | None:
    if wanted.action == RequestedAction.CREATE:
        named = select(authorities.c.id).where(
            authorities.c.slug == str((wanted.members or {}).get("authority")).strip()
        )
        return (await connection.execute(named)).scalar_one_or_none()
    if wanted.resource not in AUTHORITY_OF:
        return None
    found = await connection.execute(text(AUTHORITY_OF[wanted.resource]), {"reference": wanted.reference})
    return found.scalar_one_or_none()


# Whom it is about: they do not approve it.
SUBJECTS_OF = {
    "people": "SELECT :reference",
    "keys": "SELECT p.id FROM people p JOIN organizations o ON o.id = p.organization_id"
    " WHERE o.slug || '/' || p.external_id = :person",
    "agents": "SELECT sponsor_id FROM agents WHERE id = :reference",
    "stops": "SELECT person_id FROM stops WHERE id = :reference",
    "legal_holds": "SELECT person_id FROM legal_holds WHERE id = :reference",
    "grants": "SELECT p.id FROM people p JOIN organizations o ON o.id = p.organization_id"
    " WHERE p.external_id = ANY (:listed)"
    " AND (o.slug = :organization OR o.id = (SELECT organization_id FROM grants WHERE id = :reference))",
    "break_glasses": "SELECT p.id FROM people p JOIN organizations o ON o.id = p.organization_id"
    " WHERE p.external_id = ANY (:people) AND o.slug = :organization",
}


async def subjects(connection: AsyncConnection, wanted: Wanted, effect: Mapping[str, Any]) -> set[str]:
    """The people concerned, as far as it names any; of a grant whom it lists anew."""
    if wanted.resource not in SUBJECTS_OF:
        return set()
    before, after = (set(effect[side].get("listed_people") or ()) for side in ("before", "after"))
    named = {
        "reference": wanted.reference,
        "listed": sorted(after - before),
        "organization": (wanted.members or {}).get("organization"),
        "person": (wanted.members or {}).get("person"),
        "people": (wanted.members or {}).get("people") or [],
    }
    return set((await connection.execute(text(SUBJECTS_OF[wanted.resource]), named)).scalars())


# --- known before ---------------------------------------------------------------------------------------------

EXCEEDED = "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED"
SIMULATED = {
    ("policies", RequestedAction.ACTIVATE),
    ("data_sets", RequestedAction.ACTIVATE),
    ("grants", RequestedAction.CHANGE),
    ("directives", RequestedAction.CHANGE),
    ("switches", RequestedAction.CHANGE),
}


async def draft(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> Draft | None:
    """What has to be simulated before: what may give access to many at once. `NotFound`.

    The first policy and the first data set of an installation have nobody to change anything for.
    """
    if (wanted.resource, wanted.action) not in SIMULATED:
        return None
    reference, standing = wanted.reference or "", await policies.standing(connection)
    match wanted.resource:
        case "policies" if standing.base is not None:
            return Draft(policy=reference)
        case "data_sets" if standing.data_set not in {None, reference}:
            return Draft(members={"data_set": reference})
        case "grants" | "directives" | "switches" if standing.base is not None:
            return await _of_record(connection, wanted, writer)
    return None


async def _of_record(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> Draft | None:
    """Of terms of what is in force, or was; seats, names and dates of a grant open it to nobody else."""
    resource = BY_NAME[wanted.resource]
    terms = {name: value for name, value in (wanted.members or {}).items() if name in drafting.TERMS[resource.name]}
    found = await resources.read(connection, resource, wanted.reference or "", writer.caller)
    if not terms or found.members.get("status") in PREPARED:
        return None
    members = drafting.terms(resource.kind, terms, writer.now)
    return Draft(members={"amended" if resource.name == "directives" else resource.name: {found.id: members}})


async def simulated(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> Wanted:
    """Tied to its newest simulation. `NotPermitted` where it needs one and none holds, or has to start with some."""
    about = await draft(connection, wanted, writer)
    if about is None:
        return wanted
    report = await policy_reports.fresh(connection, about, await policies.standing(connection), writer.now)
    if Needs(**report.needs).is_staged and not (about.policy and policies.is_staged(wanted.members or {})):
        what = "so many would gain access that this starts with some: "
        how = "give organizations, or percent and halt_after" if about.policy else "change less, or by a policy's rows"
        raise NotPermitted(what + how, code=EXCEEDED)
    return replace(wanted, simulation=report.id)


async def require_simulated(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> None:
    """`NotPermitted` if it has to be simulated now and was not, or that holds no more."""
    about = await draft(connection, wanted, writer)
    if about is None:
        return
    if wanted.simulation is None:
        raise NotPermitted(
            "this was requested without a simulation: request it anew", code=policy_reports.NOT_SIMULATED
        )
    await policy_reports.require_checked(connection, about)
    await policy_reports.require_fresh(connection, wanted.simulation, await policies.standing(connection), writer.now)


def together(writer: Writer) -> Writer:
    """The last of several who approve: what they do is no one authority's."""
    return replace(writer, caller=replace(writer.caller, authority=None, authority_id=None))


async def needs(connection: AsyncConnection, wanted: Wanted) -> Needs:
    """Who has to approve it: one other person, two for a break-glass, or whom its simulation says."""
    if wanted.simulation is None:
        return Needs(approvals=2 if wanted.resource == "break_glasses" else 1)
    return Needs(**(await policy_reports.read(connection, wanted.simulation))["needs"])


async def require_acknowledged(
    connection: AsyncConnection, wanted: Wanted, names: frozenset[str], writer: Writer
) -> None:
    """`NotPermitted` unless these are all the people whom an approval has to name, which compliance alone can tell."""
    wanted_names = (await needs(connection, wanted)).acknowledge
    if not wanted_names:
        return
    if not writer.may(Permission.RUN_PROGRAMME):
        what = f"{wanted_names} newly allowed people have to be acknowledged by name: compliance approves it"
        raise NotPermitted(what, code=EXCEEDED)
    apart = await policy_reports.apart(connection, wanted.simulation or "")
    if missing := set(apart["acknowledge"]) - names:
        what = f"{len(missing)} newly allowed people of report {wanted.simulation} are not named: read it"
        raise NotPermitted(f"acknowledged: {what}", code=EXCEEDED)


# --- doing it -------------------------------------------------------------------------------------------------

# Of what is made by a request: what it was requested to be.
GRANTED = {"keys": callers.granted, "break_glasses": break_glass.granted}
LIFTED = {"stops": stops.ORDERS, "legal_holds": holds.ORDERS, "policy_cases": policy_cases.ORDERS}


async def do(change: Change, wanted: Wanted, writer: Writer) -> Effect:
    """What it changed. Whatever can be wrong with it is told by the module of its noun."""
    if wanted.action == RequestedAction.IMPORT:
        counts, standing = await files.take(change, wanted.apart or {}, writer.now)
        return Effect({}, counts, standing.sha256, frozenset(standing.people))
    before = {} if wanted.action == RequestedAction.CREATE else await _shown(change.connection, wanted, writer)
    await _do(change, wanted, writer)
    made = change.details.get(wanted.subject.noun) if wanted.action == RequestedAction.CREATE else wanted.reference
    after = await _shown(change.connection, replace(wanted, reference=made), writer)
    differing = {name for name in before | after if before.get(name) != after.get(name)}
    differs = [{name: each[name] for name in sorted(differing & each.keys())} for each in (before, after)]
    return Effect(differs[0], differs[1])


async def _shown(connection: AsyncConnection, wanted: Wanted, writer: Writer) -> dict[str, Any]:
    """What is on record, as far as it is changed here; of a person whom it erases the status alone."""
    reference = wanted.reference or ""
    match wanted.resource:
        case "assessments":
            found = dict((await assessments.read(connection, reference, writer.caller)).members)
        case "ownerships":
            found = dict((await ownership.read(connection, reference)).members)
        case "screenings":
            hit = (await screenings.read_hit(connection, wanted.members or {})).members
            return {"status": hit["status"]}
        case name if name in LIFTED:
            return {"lifted": (await LIFTED[wanted.resource].read(connection, reference))["lifted_at"] is not None}
        case "log_entries":
            return await pruning.bound(connection, wanted.members or {})
        case name if name in GRANTED:
            return await GRANTED[name](connection, reference)
        case "policies":
            in_force = await policies.in_force(connection)
            return {name: in_force[name] for name in ("policy_revision", "policy_sha256", "rollout")}
        case "data_sets":
            found = (await jurisdictions.page(connection, only=reference) or [{}])[0]
        case _:
            found = dict((await resources.read(connection, BY_NAME[wanted.resource], reference, writer.caller)).members)
    if wanted.action == RequestedAction.ERASE:
        return {"status": found["status"]}
    return {name: value for name, value in found.items() if name != "id"}


async def _own(change: Change, wanted: Wanted, writer: Writer) -> None:
    organization = await ownership.settle(change, wanted.reference or "", wanted.etag or "")
    if rows := ownership.rows(organization, wanted.members or {}):
        await resources.take_all(change, ownership.OWNERSHIPS, rows, writer.now)


async def _open(change: Change, wanted: Wanted, writer: Writer) -> None:
    record = break_glass.opening(wanted.members or {}, wanted.by, writer.now)
    there = "a break-glass for this incident is on record: give another incident"
    made = await resources.create_one(change, break_glass.OPENING, record, writer.now, there)
    change.details |= {"break_glass": made}


# What is no plain record, by its name.
DOING: dict[str, Callable[[Change, Wanted, Writer], Awaitable[Any]]] = {
    "assessments": lambda change, wanted, writer: assessments.replace(
        change, wanted.reference or "", wanted.apart or {}, wanted.etag or "", writer
    ),
    "ownerships": _own,
    "screenings": lambda change, wanted, writer: screenings.adjudicate(
        change, wanted.members or {}, wanted.etag or "", writer
    ),
    "log_entries": lambda change, wanted, writer: pruning.prune(change, wanted.members or {}, writer.now),
    "data_sets": lambda change, wanted, _: jurisdictions.activate(change, wanted.reference or "", wanted.members or {}),
    "policies": lambda change, wanted, writer: policies.carry_out(
        change, wanted.reference or "", wanted.members or {}, writer.now
    ),
    "break_glasses": _open,
    "keys": lambda change, wanted, _: callers.grant(change, wanted.members or {}, wanted.apart or {}),
}


async def _do(change: Change, wanted: Wanted, writer: Writer) -> None:
    reference, members, etag = wanted.reference or "", wanted.members or {}, wanted.etag or ""
    if wanted.resource in LIFTED:
        await LIFTED[wanted.resource].lift(change, reference)
    elif wanted.resource in DOING:
        await DOING[wanted.resource](change, wanted, writer)
    elif wanted.action == RequestedAction.CREATE:
        await resources.create(change, BY_NAME[wanted.resource], members, writer)
    elif wanted.action == RequestedAction.CHANGE:
        await resources.alter(change, BY_NAME[wanted.resource], reference, members, etag, writer)
    else:
        await _step(change, wanted, writer)


async def _step(change: Change, wanted: Wanted, writer: Writer) -> None:
    """Of the record as it was when that was requested. `NotFound`, `Outdated`."""
    resource, reference = BY_NAME[wanted.resource], wanted.reference or ""
    before = await resources.read(change.connection, resource, reference, writer.caller)
    before.require(wanted.etag or "", wanted.subject.noun)
    if wanted.action == RequestedAction.ERASE:
        await erasure.erase(change, before, writer.now, writer.caller)
    else:
        await standing.activate(change, wanted.resource, reference)
