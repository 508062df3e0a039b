"""What decisions read of the database: all that some requests may depend on, in one statement with the guard."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from mythos_gate import revision
from mythos_gate.authn.caller import STORED_KEY, STORED_TOKEN
from mythos_gate.decision import facts
from mythos_gate.decision.request import Request


def identity(text: str) -> str:
    """Of `ORGANIZATION/EXTERNAL_ID` the gate's id: one person must not count as two, as imported and by an own word.

    Whoever it names has an approval under their id only since they are on record, and that was a change of this record:
    so nothing that is kept of it counts them twice.
    """
    return f"""CASE WHEN {text} LIKE '%/%' THEN coalesce((SELECT named.id FROM organizations home
      JOIN people named ON named.organization_id = home.id AND named.external_id = split_part({text}, '/', 2)
      WHERE home.slug = split_part({text}, '/', 1)), {text}) ELSE {text} END"""  # noqa: S608  names of the schema


# Of a grant g of authority a, what decisions look at.
GRANT = """jsonb_build_object('id', g.id, 'reference', g.reference, 'authority', a.kind, 'status', g.status,
        'not_before', g.not_before, 'not_after', g.not_after, 'versions', g.versions,
        'capabilities', g.capabilities, 'purposes', g.purposes, 'foreign_nationals', g.foreign_nationals,
        'excluded_groups', g.excluded_groups, 'nationality_basis', g.nationality_basis,
        'allowed_countries', g.allowed_countries, 'contractors', g.contractors, 'agents', g.agents,
        'seat_cap', g.seat_cap,
        'seats_used', coalesce((SELECT c.used FROM seat_counts c WHERE c.grant_id = g.id), 0))"""
# One row for each record that was found, under its key; the guard's columns in each, and alone if none was.
READ = f"""
WITH {revision.GUARD},
asked_agents AS (
  SELECT * FROM agents WHERE id = ANY ($6::text[])
  UNION
  SELECT a.* FROM unnest($7::text[], $8::text[]) AS q (slug, name) JOIN organizations o ON o.slug = q.slug
  JOIN agents a ON a.organization_id = o.id AND a.external_id = q.name
),
people_ids AS (
  SELECT unnest($9::text[]) AS id
  UNION SELECT sponsor_id FROM asked_agents
  UNION SELECT p.id FROM unnest($10::text[], $11::text[]) AS q (slug, name) JOIN organizations o ON o.slug = q.slug
  JOIN people p ON p.organization_id = o.id AND p.external_id = q.name
),
asked_people AS (
  SELECT p.id, p.organization_id, p.external_id, p.status, p.employment, p.training_expires, p.acceptable_use,
    p.technology_control_plan, p.requested_by, p.review_due, o.slug
  FROM people_ids JOIN people p USING (id) JOIN organizations o ON o.id = p.organization_id
),
asked_organizations AS (SELECT * FROM organizations WHERE id IN (SELECT organization_id FROM asked_people)),
asked_endpoints AS (
  SELECT * FROM endpoints WHERE id = ANY ($12::text[])
  UNION
  SELECT e.* FROM unnest($13::text[], $14::text[]) AS q (slug, name) JOIN organizations o ON o.slug = q.slug
  JOIN endpoints e ON e.organization_id = o.id AND e.external_id = q.name
  UNION
  SELECT e.* FROM asked_organizations o CROSS JOIN unnest($15::text[]) AS q (name)
  JOIN endpoints e ON e.organization_id = o.id AND e.external_id = q.name
),
found AS (
  SELECT 'key:' || asked.id AS key, ({STORED_KEY.format(key="asked.id")}) AS value FROM unnest($4::text[]) AS asked (id)
  UNION ALL SELECT 'key:' || asked.id, ({STORED_TOKEN.format(key="asked.id")}) FROM unnest($16::text[]) AS asked (id)
  UNION ALL SELECT 'organization-name:' || slug, to_jsonb(id)
    FROM organizations WHERE slug = ANY ($7::text[] || $10::text[] || $13::text[])
  UNION ALL SELECT 'global', jsonb_build_object(
    'policy_revision', p.policy_revision,
    'policy_sha256', (SELECT sha256 FROM policy_revisions v WHERE v.number = p.policy_revision),
    'data_set', p.data_set_id,
    'reviewed_at', (SELECT d.reviewed_at FROM data_sets d WHERE d.id = p.data_set_id),
    'models', (SELECT coalesce(jsonb_object_agg(m.id, m.authority_id), '{{}}') FROM models m),
    'directives', (SELECT coalesce(jsonb_agg(jsonb_build_object('model', d.model_id,
      'exempt', ARRAY(SELECT e.organization_id FROM directive_exemptions e WHERE e.directive_id = d.id),
      'directive', jsonb_build_object('versions', d.versions, 'applies_to', d.applies_to,
        'window', jsonb_build_object('start', d.starts_at, 'end', d.ends_at)))), '[]') FROM directives d),
    'affiliates_rule', (SELECT coalesce(jsonb_agg(jsonb_build_object('start', s.starts_at, 'end', s.ends_at)), '[]')
      FROM switches s WHERE s.name = 'affiliates_rule'),
    'rollout', (SELECT jsonb_build_object('id', r.id, 'policy_revision', r.policy_revision,
      'policy_sha256', (SELECT sha256 FROM policy_revisions v WHERE v.number = r.policy_revision),
      'starts_at', r.starts_at, 'percent', r.percent, 'organizations', r.organizations)
      FROM rollouts r WHERE r.ended_at IS NULL),
    'stopped', ARRAY(SELECT coalesce(s.model_id, s.authority_id, '{revision.EVERYTHING}') FROM stops s
      WHERE s.lifted_at IS NULL AND s.scope IN ('everything', 'model', 'authority')))
    FROM programme p WHERE $5
  UNION ALL SELECT 'organization:' || o.id, jsonb_build_object(
    'record', jsonb_build_object('id', o.id, 'status', o.status, 'parent_country', o.parent_country,
      'blocked_percent', (SELECT coalesce(sum(w.percent), 0) FROM ownerships w
                          WHERE w.organization_id = o.id AND w.blocked),
      'listed_percent', (SELECT coalesce(sum(w.percent), 0) FROM ownerships w
                         WHERE w.organization_id = o.id AND w.listed),
      'ownership_change_pending', o.ownership_change_pending,
      'screening', (SELECT jsonb_build_object('status', s.status, 'screened_at', s.screened_at)
                    FROM organization_screenings s WHERE s.organization_id = o.id),
      'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.organization_id = o.id)),
    'grants', (SELECT coalesce(jsonb_agg(jsonb_build_object('model', g.model_id, 'authority', g.authority_id,
      'grant', {GRANT})), '[]')
      FROM grants g JOIN authorities a ON a.id = g.authority_id
      WHERE g.organization_id = o.id AND g.status <> 'draft'),
    'break_glasses', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'name', o.slug || '/' || b.incident,
      'break_glass', jsonb_build_object('incident', b.incident, 'organization', b.organization_id, 'people', b.people,
        'model', b.model_id, 'opened_by', b.opened_by, 'approvers', b.approvers, 'opened', b.opened_at,
        'expires', b.expires_at))), '[]')
      FROM break_glasses b WHERE b.organization_id = o.id AND b.expires_at > clock_timestamp() + $1 - interval '1 day'))
    FROM asked_organizations o
  UNION ALL SELECT 'person:' || p.id, jsonb_build_object('organization', p.organization_id, 'name', p.external_id,
    'record', export_assessment(p.id) || jsonb_build_object('id', p.id,
      'names', ARRAY[p.external_id, p.slug || '/' || p.external_id], 'status', p.status,
      'employment', p.employment, 'training_expires', p.training_expires, 'acceptable_use', p.acceptable_use,
      'technology_control_plan', p.technology_control_plan,
      'approvers', ARRAY(SELECT {identity("a.approver")} FROM approvals a WHERE a.person_id = p.id),
      'requested_by', {identity("p.requested_by")}, 'review_due', p.review_due,
      'screening', (SELECT jsonb_build_object('status', s.status, 'screened_at', s.screened_at)
                    FROM person_screenings s WHERE s.person_id = p.id),
      'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.person_id = p.id),
      'seats', ARRAY(SELECT s.grant_id FROM seats s WHERE s.person_id = p.id),
      'listed', ARRAY(SELECT l.grant_id FROM grant_listed_people l WHERE l.person_id = p.id)))
    FROM asked_people p
  UNION ALL SELECT 'agent:' || a.id, jsonb_build_object('organization', a.organization_id, 'name', a.external_id,
    'sponsor', a.sponsor_id, 'record', jsonb_build_object('id', a.id, 'status', a.status, 'scopes', a.scopes,
      'expires', a.expires_at, 'runtime_country', a.runtime_country, 'depth', a.depth, 'name', a.external_id))
    FROM asked_agents a
  UNION ALL SELECT 'endpoint:' || e.id, jsonb_build_object('organization', e.organization_id, 'name', e.external_id,
    'record', jsonb_build_object('organization', e.organization_id, 'registered', e.status = 'active',
      'attested', e.attested,
      'incident', EXISTS (SELECT FROM stops s WHERE s.lifted_at IS NULL AND s.endpoint_id = e.id)))
    FROM asked_endpoints e
)
SELECT guard.n, guard.at, guard.stamp, guard.touched, found.key, found.value
FROM guard LEFT JOIN found ON found.value IS NOT NULL
"""  # noqa: S608  no more than statements of ours


def parse_name(text: str) -> tuple[str, str] | None:
    """How a request names a subject or an endpoint: `ORGANIZATION/EXTERNAL_ID`, or None for an id or a bare name."""
    organization, slash, name = text.partition("/")
    return (organization, name) if slash else None


# --- what is kept under a key -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """`person:ID`."""

    organization: str
    name: str
    record: facts.Person


@dataclass(frozen=True, slots=True)
class Agent:
    """`agent:ID`."""

    organization: str
    name: str
    sponsor: str
    record: facts.Agent


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`endpoint:ID`."""

    organization: str
    name: str
    record: facts.Endpoint


@dataclass(frozen=True, slots=True)
class GrantFor:
    """A grant with what only finds it: the model that it is for, and the authority whose it is."""

    model: str
    authority: str
    grant: facts.Grant


@dataclass(frozen=True, slots=True)
class Opened:
    """A break-glass under its id and its name."""

    id: str
    name: str
    break_glass: facts.BreakGlass


@dataclass(frozen=True, slots=True)
class Organization:
    """`organization:ID`, with its grants and break-glasses."""

    record: facts.Organization
    grants: tuple[GrantFor, ...]
    break_glasses: tuple[Opened, ...]


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive with the model that it is about, and the organizations that it does not concern."""

    model: str
    exempt: frozenset[str]
    directive: facts.Directive


@dataclass(frozen=True, slots=True)
class Rollout:
    """Another policy beside the one in force. `percent` of the people; of these organizations, or of all."""

    id: str
    policy_revision: int
    policy_sha256: str
    starts_at: facts.Instant
    percent: int
    organizations: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Programme:
    """`global`. `models`: each with its authority; `stopped`: models and authorities, or `*`."""

    policy_revision: int | None
    policy_sha256: str | None
    data_set: str | None
    reviewed_at: facts.Instant | None
    models: dict[str, str]
    directives: tuple[Directive, ...]
    affiliates_rule: tuple[facts.Window, ...]
    rollout: Rollout | None
    stopped: frozenset[str]


SHAPES: Mapping[str, TypeAdapter[Any]] = {
    noun: TypeAdapter(shape)
    for noun, shape in (
        ("person", Person), ("agent", Agent), ("endpoint", Endpoint), ("organization", Organization),
        ("global", Programme),
    )
}  # fmt: skip


# --- what to read -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Wanted:
    """What some requests name, as the values of the statement from the fourth on. `keys`: ids of what is presented."""

    keys: list[str]
    programme: bool
    agents: set[str] = field(default_factory=set)
    named_agents: set[tuple[str, str]] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    named_people: set[tuple[str, str]] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)
    named_endpoints: set[tuple[str, str]] = field(default_factory=set)
    bare_endpoints: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, keys: Collection[str], requests: Iterable[Request], *, programme: bool) -> "Wanted":
        wanted = cls(list(keys), programme)
        for request in requests:
            wanted._add(request)
        return wanted

    def _add(self, request: Request) -> None:
        if request.subject_type in {"person", "agent"}:
            ids, names = (self.agents, self.named_agents) if request.by_agent else (self.people, self.named_people)
            _put(request.subject_id, ids, names)
        if request.endpoint:
            _put(request.endpoint, self.endpoints, self.named_endpoints)
            if parse_name(request.endpoint) is None:
                self.bare_endpoints.add(request.endpoint)

    def values(self) -> tuple[Any, ...]:
        tokens = [each for each in self.keys if _is_token(each)]
        return (
            [each for each in self.keys if each not in tokens],
            self.programme,
            list(self.agents),
            *_columns(self.named_agents),
            list(self.people),
            *_columns(self.named_people),
            list(self.endpoints),
            *_columns(self.named_endpoints),
            list(self.bare_endpoints),
            tokens,
        )

    def absent(self, found: Mapping[str, Any]) -> dict[str, None]:
        """Under their keys, what the requests name and is not on record. What is named by no organization is not."""
        organizations = {key.removeprefix("organization:") for key in found if key.startswith("organization:")}
        made: list[str] = []
        for noun, ids, names in (
            ("agent", self.agents, self.named_agents),
            ("person", self.people, self.named_people),
            ("endpoint", self.endpoints, self.named_endpoints),
        ):
            made += [revision.key(noun, each) for each in ids]
            for slug, name in names:
                home = revision.key("organization-name", slug)
                made.append(revision.name_key(noun, found[home], name) if home in found else home)
        made += [revision.name_key("endpoint", home, name) for home in organizations for name in self.bare_endpoints]
        return {key: None for key in made if key not in found}


def _is_token(identifier: str) -> bool:
    """A key's id has no brace; what a token claims is JSON."""
    return identifier.startswith("{")


def _put(text: str, ids: set[str], names: set[tuple[str, str]]) -> None:
    named = parse_name(text)
    if named is None:
        ids.add(text)
    else:
        names.add(named)


def _columns(names: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    pairs = list(names)
    return [slug for slug, _ in pairs], [name for _, name in pairs]
