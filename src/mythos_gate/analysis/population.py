"""Everybody on record, in classes: whoever cannot be told apart by any standing request is asked once.

The *standing request* of a person is put from the work country, in a strong session, on each attested endpoint of the
organization, for each version, capability and purpose that a grant names; an agent's likewise, from its sponsor's. A
class has in common all that `facts.derive` looks at, with every instant replaced by what it compares to at one moment.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from itertools import product
from typing import Any

import asyncpg
from pydantic import TypeAdapter

from mythos_gate.decision import facts
from mythos_gate.decision.fill import GRANT, identity
from mythos_gate.decision.library import Library
from mythos_gate.decision.policy import Policy
from mythos_gate.decision.records import Loaded, Pip
from mythos_gate.decision.request import Location, Request
from mythos_gate.errors import NotDecided
from mythos_gate.revision import Known
from mythos_gate.terms import (
    AgentStatus,
    Employment,
    GrantStatus,
    Mfa,
    NationalityKind,
    PersonStatus,
    ScreeningStatus,
    UsBasis,
    UsPerson,
)

SOON = timedelta(days=30)  # what ends within it is about to
ONE_GRANT = TypeAdapter(facts.Grant)
APPROVALS = 5  # more of them make no difference (decision/thresholds.py)

# One line a person: who, and all that decisions can tell of them at $1. Of dates of acquisition the order counts, and
# of a screening how many of the ages $3, in hours, it is beyond. What ends before $2 is about to.
PEOPLE = f"""
SELECT p.id, p.organization_id, p.status, p.employment, p.training_expires > $1 IS TRUE,
  p.acceptable_use AND p.technology_control_plan,
  (SELECT least(count(DISTINCT {identity("x")}), {APPROVALS}) FROM unnest(a.approvers) x
    WHERE {identity("x")} NOT IN (p.id, p.external_id, o.slug || '/' || p.external_id)
    AND {identity("x")} IS DISTINCT FROM {identity("p.requested_by")}),
  p.review_due > $1 IS TRUE, coalesce(e.us_person, 'unknown'), e.us_basis IS NOT NULL, e.evidence_expires > $1 IS TRUE,
  n.records, s.status,
  CASE WHEN s.screened_at > $1 THEN -1 WHEN s.screened_at IS NULL THEN NULL
    ELSE (SELECT count(*) FROM unnest($3::integer[]) AS age
      WHERE $1::timestamptz - s.screened_at > make_interval(hours => age)) END,
  i.person_id IS NOT NULL, t.grants, l.grants, p.work_country,
  (p.training_expires > $2 AND p.review_due > $2 AND s.screened_at IS NOT NULL
    AND e.person_id IS NOT NULL AND (e.us_person <> 'no' OR e.evidence_expires > $2)) IS NOT TRUE
FROM people p JOIN organizations o ON o.id = p.organization_id
LEFT JOIN (SELECT person_id, array_agg(approver) AS approvers FROM approvals GROUP BY person_id) a
  ON a.person_id = p.id
LEFT JOIN export_assessments e ON e.person_id = p.id
LEFT JOIN (SELECT r.person_id, string_agg(r.record, ',' ORDER BY r.record) AS records FROM (
  SELECT person_id, concat_ws(':', kind, country,
    CASE WHEN acquired IS NULL THEN '' WHEN acquired > ($1::timestamptz AT TIME ZONE 'UTC')::date THEN 'later'
      ELSE (dense_rank() OVER (PARTITION BY person_id ORDER BY acquired))::text END,
    CASE WHEN ended <= ($1::timestamptz AT TIME ZONE 'UTC')::date THEN 'ended' ELSE '' END) AS record
  FROM nationality_records) r GROUP BY r.person_id) n ON n.person_id = p.id
LEFT JOIN person_screenings s ON s.person_id = p.id
LEFT JOIN (SELECT DISTINCT person_id FROM stops WHERE lifted_at IS NULL AND person_id IS NOT NULL) i
  ON i.person_id = p.id
LEFT JOIN (SELECT person_id, string_agg(grant_id, ',' ORDER BY grant_id) AS grants FROM seats GROUP BY person_id) t
  ON t.person_id = p.id
LEFT JOIN (SELECT person_id, string_agg(grant_id, ',' ORDER BY grant_id) AS grants FROM grant_listed_people
  GROUP BY person_id) l ON l.person_id = p.id
WHERE p.status <> 'erased'
"""  # noqa: S608  numbers of ours
# All is read anyway, so hashes of whole tables are best; and they are made once.
AT_ONCE = "SET LOCAL work_mem = '256MB'; SET LOCAL enable_nestloop = off"
AGENTS = """
SELECT a.id, a.sponsor_id, a.status, array_to_string(ARRAY(SELECT unnest(a.scopes) ORDER BY 1), ','),
  a.expires_at > $1 IS TRUE, a.runtime_country, a.depth
FROM agents a JOIN people p ON p.id = a.sponsor_id WHERE p.status <> 'erased'
"""
ENDPOINTS = """
SELECT e.organization_id, e.incident, count(*) FROM (
  SELECT organization_id,
    EXISTS (SELECT FROM stops s WHERE s.endpoint_id = endpoints.id AND s.lifted_at IS NULL) AS incident
  FROM endpoints WHERE attested AND status = 'active') e
GROUP BY 1, 2 ORDER BY 1, 2
"""
GRANTS = """
SELECT DISTINCT o.id AS organization, o.slug, g.model_id AS model,
  (SELECT p.id FROM people p WHERE p.organization_id = o.id ORDER BY p.id LIMIT 1) AS person
FROM organizations o JOIN grants g ON g.organization_id = o.id ORDER BY 1, 3
"""
HELD = "SELECT g.id, a.slug AS authority FROM grants g JOIN authorities a ON a.id = g.authority_id"
# Decisions never read these; a draft can be that one of them is in force.
ON_PAPER = f"""
SELECT g.organization_id AS organization, g.model_id AS model, {GRANT} AS grant
FROM grants g JOIN authorities a ON a.id = g.authority_id WHERE g.status = 'draft'
"""  # noqa: S608  no more than a statement of ours


@dataclass(slots=True)
class Class:
    """People, or agents with their sponsors' class, whom no standing request tells apart."""

    organization: str
    person: facts.Person
    country: str | None
    is_expiring: bool  # its data is missing, or ends soon
    agent: facts.Agent | None = None
    ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Holding:
    """What an organization's standing requests about one model rest on, whoever puts them."""

    model: str
    records: facts.Records


# `asyncio.run` makes a text of what it returns, twice: of a million people that takes longer than reading them.
@dataclass(slots=True, repr=False)
class Population:
    """As of one snapshot. `endpoints`: of an organization, how many have an incident and how many have not."""

    now: datetime
    policy: Policy
    policy_sha256: str
    data_set: str | None
    classes: list[Class]
    holdings: dict[str, list[Holding]]
    endpoints: dict[str, dict[bool, int]]
    slugs: dict[str, str]
    authorities: dict[str, str]  # by grant
    ages: list[int]  # of a screening, in hours: of the policies that can be asked about
    people: int = 0
    agents: int = 0


async def load(
    connection: asyncpg.Connection, library: Library, drafts: Sequence[Policy], progress: Callable[[int], None]
) -> Population:
    """Read everybody, to be judged by the policy in force and these; the connection's role is compliance's.

    `NotDecided` where no policy is in force.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(AT_ONCE)
        known = Known()
        pip = Pip(known, library, lambda: known.now()[0])
        held = await connection.fetch(GRANTS)
        asked = [_probe(row["person"] or "", row["model"]) for row in held] or [_probe("", "")]
        loaded = await pip.load(lambda: nullcontext(connection), None, asked)
        now, policy = loaded[0].now, loaded[0].choice.in_force
        population = Population(
            now=now,
            policy=policy,
            policy_sha256=policy.sha256,
            data_set=loaded[0].data_set or None,
            classes=[],
            holdings=_holdings(held, loaded, await connection.fetch(ON_PAPER)),
            endpoints=await _endpoints(connection),
            slugs={row["id"]: row["slug"] for row in await connection.fetch("SELECT id, slug FROM organizations")},
            authorities={row["id"]: row["authority"] for row in await connection.fetch(HELD)},
            ages=sorted({_hours(each) for each in (policy, *drafts)}),
        )
        await _fill(connection, population, progress)
    return population


def _hours(policy: Policy) -> int:
    return int(policy.thresholds.screening_age / timedelta(hours=1))


def _probe(person: str, model: str) -> Request:
    return Request("person", person, "invoke", None, None, "model", model, None)


def _holdings(
    held: Sequence[asyncpg.Record], loaded: Sequence[Loaded], on_paper: Sequence[asyncpg.Record]
) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = {}
    for row, each in zip(held, loaded, strict=False):
        if row["person"] is not None:
            if each.records.organization is None:
                raise NotDecided("an organization cannot be read")
            drafts = [
                ONE_GRANT.validate_json(other["grant"])
                for other in on_paper
                if (other["organization"], other["model"]) == (row["organization"], row["model"])
            ]
            records = replace(each.records, grants=(*each.records.grants, *drafts))
            found.setdefault(row["organization"], []).append(Holding(row["model"], records))
    return found


async def _endpoints(connection: asyncpg.Connection) -> dict[str, dict[bool, int]]:
    found: dict[str, dict[bool, int]] = {}
    for organization, incident, count in await connection.fetch(ENDPOINTS):
        found.setdefault(organization, {})[incident] = count
    return found


async def _fill(connection: asyncpg.Connection, population: Population, progress: Callable[[int], None]) -> None:
    """The classes, each with the ids of those in it."""
    signed: dict[bytes, Class] = {}
    agents: list[bytes] = []
    await _copy(connection, agents.extend, AGENTS, population.now)
    sponsors = {line.split(b"\t", 2)[1] for line in agents}
    sponsoring: dict[bytes, Class] = {}

    def take(lines: Sequence[bytes]) -> None:
        for line in lines:
            identifier, _, signature = line.partition(b"\t")
            if (found := signed.get(signature)) is None:
                found = signed[signature] = _of_person(signature.decode().split("\t"), population)
            found.ids.append(identifier.decode())
            if identifier in sponsors:
                sponsoring[identifier] = found
        population.people += len(lines)
        progress(population.people)

    await _copy(connection, take, PEOPLE, population.now, population.now + SOON, population.ages)
    acting: dict[tuple[int, bytes], Class] = {}
    for line in agents:
        identifier, sponsor, signature = line.split(b"\t", 2)
        home = sponsoring[sponsor]
        key = (id(home), signature)
        if (found := acting.get(key)) is None:
            found = acting[key] = _of_agent(signature.decode().split("\t"), home, population.now)
        found.ids.append(identifier.decode())
    population.agents = len(agents)
    population.classes = [*signed.values(), *acting.values()]


async def _copy(
    connection: asyncpg.Connection, take: Callable[[Sequence[bytes]], None], query: str, *values: Any
) -> None:
    """Hand over the rows of a query as lines of cells between tabs (PostgreSQL, COPY). No id or code needs escapes."""
    left = b""

    async def sink(piece: bytes) -> None:
        nonlocal left
        *lines, left = (left + piece).split(b"\n")
        take(lines)

    await connection.copy_from_query(query, *values, output=sink)


NULL, TRUE = "\\N", "t"
FIRST = date(1900, 1, 1)


def _of_person(cells: Sequence[str], population: Population) -> Class:
    (organization, status, employment, is_trained, has_signed, approvals, is_reviewed, us_person, has_basis,
     has_evidence, records, screening, beyond, incident, seats, listed, country, is_expiring) = cells  # fmt: skip
    later = population.now + timedelta(days=366)
    person = facts.Person(
        id="",
        status=PersonStatus(status),
        employment=Employment(employment),
        us_person=UsPerson(us_person),
        us_basis=UsBasis.CITIZEN if has_basis == TRUE else None,
        nationalities=_nationalities(records, later.date()),
        evidence_expires=later if has_evidence == TRUE else None,
        training_expires=later if is_trained == TRUE else None,
        acceptable_use=has_signed == TRUE,
        technology_control_plan=has_signed == TRUE,
        approvers=_approvers(int(approvals)),
        review_due=later if is_reviewed == TRUE else None,
        screening=_screening(screening, beyond, population),
        incident=incident == TRUE,
        seats=_listed(seats),
        listed=_listed(listed),
    )
    return Class(organization, person, None if country == NULL else country, is_expiring == TRUE)


# Classes share what is the same in them.


@cache
def _approvers(count: int) -> frozenset[str]:
    return frozenset(map(str, range(count)))


@lru_cache(100_000)
def _listed(text: str) -> frozenset[str]:
    return frozenset() if text in {NULL, ""} else frozenset(text.split(","))


@lru_cache(100_000)
def _nationalities(text: str, later: date) -> tuple[facts.Nationality, ...]:
    return () if text == NULL else tuple(_nationality(each, later) for each in text.split(","))


def _nationality(text: str, later: date) -> facts.Nationality:
    kind, country, acquired, ended = text.split(":")
    begun = None if not acquired else later if acquired == "later" else FIRST + timedelta(days=int(acquired))
    return facts.Nationality(NationalityKind(kind), country, begun, FIRST if ended else None)


@lru_cache(1_000)
def _screened(status: str, at: datetime | None) -> facts.Screening:
    return facts.Screening(ScreeningStatus(status), at)


def _screening(status: str, beyond: str, population: Population) -> facts.Screening | None:
    if status == NULL:
        return None
    if beyond == NULL:
        return _screened(status, None)
    age = {-1: timedelta(hours=-1), 0: timedelta()}.get(int(beyond))
    if age is None:
        age = timedelta(hours=population.ages[int(beyond) - 1]) + facts.INSTANT
    return _screened(status, population.now - age)


def _of_agent(cells: Sequence[str], home: Class, now: datetime) -> Class:
    status, scopes, is_valid, runtime, depth = cells
    agent = facts.Agent(
        id="",
        status=AgentStatus(status),
        scopes=_listed(scopes),
        expires=now + timedelta(days=366) if is_valid == TRUE else None,
        runtime_country=None if runtime == NULL else runtime,
        depth=None if depth == NULL else int(depth),
    )
    return Class(home.organization, home.person, home.country, home.is_expiring, agent)


# --- the standing requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """One standing request of a class. `incident`: on an endpoint with one."""

    model: str
    version: str
    capability: str
    purpose: str
    incident: bool

    def request(self, who: Class) -> Request:
        return Request(
            subject_type="person" if who.agent is None else "agent",
            subject_id="",
            action="invoke",
            capability=self.capability,
            purpose=self.purpose,
            resource_type="model",
            model=self.model,
            version=f"{self.version}.0",
            location=Location(who.country),
            mfa=Mfa.PHISHING_RESISTANT,
        )


def asks(grant: facts.Grant, model: str, version: str, *, incident: bool) -> Iterator[Ask]:
    """All that a grant names of a version; one that opens makes the path open."""
    for capability, purpose in product(sorted(grant.capabilities), sorted(grant.purposes)):
        yield Ask(model, version, capability, purpose, incident)


def standing(holding: Holding) -> Iterator[facts.Grant]:
    for grant in holding.records.grants:
        if grant.status is not GrantStatus.DRAFT:
            yield grant


def records(holding: Holding, who: Class, *, incident: bool) -> facts.Records:
    """What the decision about a standing request rests on."""
    base = holding.records
    return facts.Records(
        programme=base.programme,
        organization=base.organization,
        person=who.person,
        agent=who.agent,
        grants=base.grants,
        endpoint=facts.Endpoint(who.organization, registered=True, attested=True, incident=incident),
        jurisdictions=base.jurisdictions,
        thresholds=base.thresholds,
    )
