"""The PIP: all that a decision may depend on, read in one statement together with the revision."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import TypeAdapter

from mythos_gate import revision, tables
from mythos_gate.audit.entry import canonical
from mythos_gate.authn.api_keys import STORED, Stored
from mythos_gate.authn.caller import STORED_KEY
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Policy
from mythos_gate.decision.request import Request
from mythos_gate.errors import NotDecided
from mythos_gate.terms import Treatment

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

# One statement, one snapshot: the revision and the records that it stands for.
READ = f"""
WITH named AS (SELECT id FROM organizations WHERE slug = $4),
asker AS (SELECT c.* FROM api_keys k JOIN callers c ON c.id = k.caller_id WHERE k.id = $1),
agent AS (
  SELECT * FROM agents
  WHERE $2 = 'agent' AND (id = $3 OR (organization_id = (SELECT id FROM named) AND external_id = $5))
    -- What its caller may not ask about is not on record for it.
    AND NOT EXISTS (SELECT FROM asker c WHERE NOT $6 = ANY (c.models)
                    OR NOT agents.organization_id = ANY (c.organizations))
),
person AS (
  SELECT id, organization_id, external_id, status, employment, training_expires, acceptable_use,
         technology_control_plan, requested_by, review_due
  FROM people
  WHERE id = (SELECT sponsor_id FROM agent)
     OR ($2 = 'person' AND (id = $3 OR (organization_id = (SELECT id FROM named) AND external_id = $5))
       AND NOT EXISTS (SELECT FROM asker c WHERE NOT $6 = ANY (c.models)
                       OR NOT people.organization_id = ANY (c.organizations)))
),
organization AS (SELECT * FROM organizations WHERE id = (SELECT organization_id FROM person)),
endpoint_home AS (
  SELECT CASE WHEN $8::text IS NULL THEN (SELECT id FROM organization)
              ELSE (SELECT id FROM organizations WHERE slug = $8) END AS id
),
endpoint AS (
  SELECT * FROM endpoints
  WHERE id = $7 OR (organization_id = (SELECT id FROM endpoint_home) AND external_id = $9)
),
granted AS (
  SELECT g.*, a.kind AS authority FROM grants g JOIN authorities a ON a.id = g.authority_id
  WHERE g.organization_id = (SELECT id FROM organization) AND g.model_id = $6 AND g.status <> 'draft'
)
SELECT r.n, clock_timestamp() + $11::interval AS now,
  (SELECT id FROM named) AS organization_named, (SELECT id FROM endpoint_home) AS endpoint_home,
  (SELECT id FROM agent) AS agent_id, (SELECT id FROM person) AS person_id,
  (SELECT id FROM organization) AS organization_id, (SELECT id FROM endpoint) AS endpoint_id,
  (SELECT d.reviewed_at FROM data_sets d WHERE d.id = p.data_set_id) AS reviewed_at,
  p.policy_revision, (SELECT sha256 FROM policy_revisions v WHERE v.number = p.policy_revision) AS policy_sha256,
  p.data_set_id, EXISTS (SELECT FROM models WHERE id = $6) AS model_known,
  ({STORED_KEY.format(key="$1")}) AS stored_key,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('versions', d.versions, 'applies_to', d.applies_to,
     'window', jsonb_build_object('start', d.starts_at, 'end', d.ends_at),
     'exempt', EXISTS (SELECT FROM directive_exemptions e WHERE e.directive_id = d.id
                       AND e.organization_id = (SELECT id FROM organization)))), '[]')
   FROM directives d WHERE d.model_id = $6) AS directives,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('start', s.starts_at, 'end', s.ends_at)), '[]')
   FROM switches s WHERE s.name = 'affiliates_rule') AS affiliates_rule,
  EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND (s.scope = 'everything'
     OR (s.scope = 'model' AND s.model_id = $6)
     OR (s.scope = 'authority' AND (s.authority_id = (SELECT authority_id FROM models WHERE id = $6)
         OR s.authority_id IN (SELECT authority_id FROM granted))))) AS emergency,
  (SELECT jsonb_build_object('id', o.id, 'status', o.status, 'parent_country', o.parent_country,
     'blocked_percent', (SELECT coalesce(sum(w.percent), 0) FROM ownerships w
                         WHERE w.organization_id = o.id AND w.blocked),
     'listed_percent', (SELECT coalesce(sum(w.percent), 0) FROM ownerships w
                        WHERE w.organization_id = o.id AND w.listed),
     'ownership_change_pending', o.ownership_change_pending,
     'screening', (SELECT jsonb_build_object('status', s.status, 'screened_at', s.screened_at)
                   FROM organization_screenings s WHERE s.organization_id = o.id),
     'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.organization_id = o.id))
   FROM organization o) AS organization,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'reference', g.reference,
     'authority', g.authority, 'status', g.status,
     'not_before', g.not_before, 'not_after', g.not_after, 'versions', g.versions, 'capabilities', g.capabilities,
     'purposes', g.purposes, 'foreign_nationals', g.foreign_nationals, 'excluded_groups', g.excluded_groups,
     'nationality_basis', g.nationality_basis, 'allowed_countries', g.allowed_countries,
     'contractors', g.contractors, 'agents', g.agents, 'seat_cap', g.seat_cap,
     'seats_used', coalesce((SELECT c.used FROM seat_counts c WHERE c.grant_id = g.id), 0),
     'seat_held', EXISTS (SELECT FROM seats s WHERE s.grant_id = g.id AND s.person_id = (SELECT id FROM person)),
     'listed', EXISTS (SELECT FROM grant_listed_people l WHERE l.grant_id = g.id
                       AND l.person_id = (SELECT id FROM person)))), '[]')
   FROM granted g) AS grants,
  (SELECT export_assessment(p.id) || jsonb_build_object('id', p.id,
     'names', ARRAY[p.external_id, (SELECT slug FROM organization) || '/' || p.external_id], 'status', p.status,
     'employment', p.employment, 'training_expires', p.training_expires, 'acceptable_use', p.acceptable_use,
     'technology_control_plan', p.technology_control_plan,
     'approvers', ARRAY(SELECT a.approver FROM approvals a WHERE a.person_id = p.id),
     'requested_by', p.requested_by, 'review_due', p.review_due,
     'screening', (SELECT jsonb_build_object('status', s.status, 'screened_at', s.screened_at)
                   FROM person_screenings s WHERE s.person_id = p.id),
     'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.person_id = p.id))
   FROM person p) AS person,
  (SELECT jsonb_build_object('id', a.id, 'status', a.status, 'scopes', a.scopes, 'expires', a.expires_at,
     'runtime_country', a.runtime_country, 'depth', a.depth) FROM agent a) AS agent,
  (SELECT jsonb_build_object('organization', e.organization_id, 'registered', e.status = 'active',
     'attested', e.attested,
     'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.endpoint_id = e.id))
   FROM endpoint e) AS endpoint,
  (SELECT jsonb_build_object('incident', b.incident, 'organization', b.organization_id, 'people', b.people,
     'model', b.model_id, 'opened_by', b.opened_by, 'approvers', b.approvers, 'opened', b.opened_at,
     'expires', b.expires_at) FROM break_glasses b
   WHERE b.id = $10 OR (b.incident = $13
     AND b.organization_id = (SELECT id FROM organizations WHERE slug = $12))) AS break_glass
FROM revision r CROSS JOIN programme p
"""  # noqa: S608  no more than another statement of ours


GUARD = "SELECT EXISTS (SELECT FROM touched WHERE n > $1 AND key = ANY ($2::text[]))"


@dataclass(frozen=True, slots=True)
class Reference:
    """How a request names a subject or an endpoint: the gate's id, `ORGANIZATION/EXTERNAL_ID`, or a bare name."""

    id: str
    organization: str | None
    external_id: str | None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        organization, slash, external_id = text.partition("/")
        return cls("", organization, external_id) if slash else cls(text, None, text)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Records with the revision `n` that they stand for, the database's `now`, and the `keys` they rest on."""

    n: int
    now: datetime
    keys: frozenset[str]
    stored_key: Stored | None
    records: facts.Records
    policy: Policy
    policy_revision: int
    data_set: str
    subject_id: str | None
    organization_id: str | None
    endpoint_id: str | None
    model_known: bool


# Of these, in the order of codes, a data set's id is the hash.
CONTENT = [column.name for column in tables.jurisdictions.columns if column.name != "data_set_id"]


class Library:
    """Policies and data sets, by content hash: what is loaded once never changes."""

    def __init__(self) -> None:
        self._policies: dict[str, Policy] = {}
        self._data_sets: dict[str, facts.Jurisdictions] = {}

    async def policy(self, connection: Connection, sha256: str | None) -> Policy:
        """The active revision, built. `NotDecided` while it cannot be: never an older one."""
        if sha256 is None:
            raise NotDecided("no policy is active: run `mythos-gate policy activate`")
        if sha256 not in self._policies:
            files = await connection.fetchval("SELECT files FROM policy_revisions WHERE sha256 = $1", sha256)
            try:
                policy = Policy(json.loads(files))
            except Exception as error:
                raise NotDecided("the active policy cannot be loaded") from error
            if policy.sha256 != sha256:
                raise NotDecided("the active policy is not the one that its hash names")
            self._policies[sha256] = policy
        return self._policies[sha256]

    async def jurisdictions(self, connection: Connection, identifier: str | None) -> facts.Jurisdictions:
        """The data set in force; without one every country is unknown."""
        if identifier is None:
            return {}
        if identifier not in self._data_sets:
            rows = await connection.fetch(
                f'SELECT {", ".join(CONTENT)} FROM jurisdictions WHERE data_set_id = $1 ORDER BY code COLLATE "C"',  # noqa: S608
                identifier,
            )
            if identifier != sha256(canonical([list(row) for row in rows])).hexdigest():
                raise NotDecided("the data set in force is not the one that its hash names")
            self._data_sets[identifier] = {
                row["code"]: facts.Jurisdiction(Treatment(row["treatment"]), frozenset(row["groups"]), row["inherits"])
                for row in rows
            }
        return self._data_sets[identifier]


async def load(
    connection: Connection,
    library: Library,
    key_id: str,
    request: Request,
    displacement: timedelta,
    wall_clock: Callable[[], datetime],
) -> Loaded:
    """Read what is on record for the request. Raises what asyncpg raises, and `NotDecided`."""
    subject = Reference.parse(request.subject_id)
    endpoint = Reference.parse(request.endpoint) if request.endpoint else None
    glass = Reference.parse(request.break_glass) if request.break_glass else None
    before = wall_clock()
    row = await connection.fetchrow(
        READ,
        key_id,
        request.subject_type,
        subject.id,
        subject.organization,
        subject.external_id if subject.organization else None,
        request.model if request.resource_type == "model" else None,
        endpoint.id if endpoint else None,
        endpoint.organization if endpoint else None,
        endpoint.external_id if endpoint else None,
        glass.id if glass else None,
        displacement,
        glass.organization if glass else None,
        glass.external_id if glass and glass.organization else None,
    )
    if row is None:
        raise NotDecided("the revision is missing: run `mythos-gate db upgrade`")
    skew = _skew(before, row["now"], wall_clock())
    policy = await library.policy(connection, row["policy_sha256"])
    jurisdictions = await library.jurisdictions(connection, row["data_set_id"])
    stored = STORED.validate_json(row["stored_key"] or "null")
    return Loaded(
        n=row["n"],
        now=row["now"],
        keys=_keys(row, key_id, stored, request, subject, endpoint),
        stored_key=stored,
        records=_records(row, skew, jurisdictions),
        policy=policy,
        policy_revision=row["policy_revision"],
        data_set=row["data_set_id"] or "",
        subject_id=row["agent_id"] if request.by_agent else row["person_id"],
        organization_id=row["organization_id"],
        endpoint_id=row["endpoint_id"],
        model_known=row["model_known"],
    )


def _skew(before: datetime, database: datetime, after: datetime) -> timedelta:
    """How far the database's clock is outside the time in which it was read by this process's clock."""
    return max(before - database, database - after, timedelta())


def _records(row: asyncpg.Record, skew: timedelta, jurisdictions: facts.Jurisdictions) -> facts.Records:
    return facts.Records(
        programme=facts.Programme(
            data_reviewed_at=row["reviewed_at"],
            clock_skew=skew,
            emergency=row["emergency"],
            directives=DIRECTIVES.validate_json(row["directives"]),
            affiliates_rule=WINDOWS.validate_json(row["affiliates_rule"]),
        ),
        organization=ORGANIZATION.validate_json(row["organization"] or "null"),
        person=PERSON.validate_json(row["person"] or "null"),
        agent=AGENT.validate_json(row["agent"] or "null"),
        grants=GRANTS.validate_json(row["grants"]),
        endpoint=ENDPOINT.validate_json(row["endpoint"] or "null"),
        break_glass=BREAK_GLASS.validate_json(row["break_glass"] or "null"),
        jurisdictions=jurisdictions,
    )


def _keys(
    row: asyncpg.Record,
    key_id: str,
    stored: Stored | None,
    request: Request,
    subject: Reference,
    endpoint: Reference | None,
) -> frozenset[str]:
    keys = {revision.EVERYTHING, revision.GLOBAL, revision.key("key", key_id)}
    if stored is not None:
        keys.add(revision.key("caller", stored.caller.id))
        if stored.caller.person_id is not None:
            keys.add(revision.key("person", stored.caller.person_id))
    found = row["agent_id"] if request.by_agent else row["person_id"]
    keys |= _named(request.subject_type, found, subject, row["organization_named"])
    for noun in ("person", "organization"):
        if row[f"{noun}_id"]:
            keys.add(revision.key(noun, row[f"{noun}_id"]))
    if endpoint:
        keys |= _named("endpoint", row["endpoint_id"], endpoint, row["endpoint_home"])
    return frozenset(keys)


def _named(noun: str, found: str | None, reference: Reference, organization: str | None) -> set[str]:
    """The key of what was found, or of the name that was looked up and not found."""
    if found is not None:
        return {revision.key(noun, found)}
    keys = {revision.key(noun, reference.id)} if reference.id else set()
    if organization is not None and reference.external_id is not None:
        keys.add(revision.name_key(noun, organization, reference.external_id))
    elif reference.organization is not None:
        keys.add(revision.key("organization-name", reference.organization))
    return keys


DIRECTIVES = TypeAdapter(tuple[facts.Directive, ...])
WINDOWS = TypeAdapter(tuple[facts.Window, ...])
ORGANIZATION: TypeAdapter[facts.Organization | None] = TypeAdapter(facts.Organization | None)
PERSON: TypeAdapter[facts.Person | None] = TypeAdapter(facts.Person | None)
AGENT: TypeAdapter[facts.Agent | None] = TypeAdapter(facts.Agent | None)
GRANTS = TypeAdapter(tuple[facts.Grant, ...])
ENDPOINT: TypeAdapter[facts.Endpoint | None] = TypeAdapter(facts.Endpoint | None)
BREAK_GLASS: TypeAdapter[facts.BreakGlass | None] = TypeAdapter(facts.BreakGlass | None)
