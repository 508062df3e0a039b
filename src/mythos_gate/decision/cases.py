"""Policy cases: documents that an officer can read, run through the product's own records and `facts.derive`."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)

from mythos_gate.countries import normalise, normalise_region
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Decision, Policy
from mythos_gate.decision.request import Location, Request
from mythos_gate.errors import Invalid
from mythos_gate.terms import (
    AgentStatus,
    AuthorityKind,
    DirectiveClass,
    Employment,
    ForeignNationals,
    GrantStatus,
    Mfa,
    NationalityBasis,
    NationalityKind,
    OrganizationStatus,
    PersonStatus,
    ScreeningStatus,
    Treatment,
    UsBasis,
    UsPerson,
)

SCHEMA = "mythos-gate-cases/1"
EVER = facts.Window(datetime.min.replace(tzinfo=UTC))


def _code(value: object) -> object:
    """Case files spell codes in capitals; `USG` is the government."""
    return {"USG": "government"}.get(value, value.lower()) if isinstance(value, str) and value.isupper() else value


Code = BeforeValidator(_code)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyPart(_Part):
    version: str | None = None
    country_data_version: str | None = None
    country_data_reviewed_at: AwareDatetime | None = None
    # What a `timedelta` holds, with room; neither NaN nor infinite.
    clock_skew_s: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    affiliates_rule_in_force: StrictBool = False


class DirectivePart(_Part):
    id: StrictStr
    model_versions: list[StrictStr]
    applies_to: Annotated[DirectiveClass, Code]
    exempt_orgs: list[StrictStr] = []
    from_: AwareDatetime
    until: AwareDatetime | None = None
    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.rstrip("_"))


class ModelPart(_Part):
    id: StrictStr = ""
    version: StrictStr | None = None
    emergency_stop: StrictBool = False
    directives: list[DirectivePart] = []


class RequestPart(_Part):
    action: Literal["invoke"] = "invoke"
    capability: StrictStr | None = None
    purpose: StrictStr | None = None


class ScreeningPart(_Part):
    status: Annotated[ScreeningStatus, Code]
    screened_at: AwareDatetime | None = None
    list_version: StrictStr | None = None

    def record(self) -> facts.Screening:
        return facts.Screening(self.status, self.screened_at)


class OrganizationPart(_Part):
    id: StrictStr = ""
    status: Annotated[OrganizationStatus, Code] = OrganizationStatus.PROSPECT
    incorporated_in: StrictStr | None = None
    ultimate_parent_country: StrictStr | None = None
    blocked_owner_aggregate_pct: float = 0
    listed_owner_aggregate_pct: float = 0
    ownership_change_pending: StrictBool = False
    screening: ScreeningPart | None = None


class GrantPart(_Part):
    id: StrictStr
    org: StrictStr
    authority: Annotated[AuthorityKind, Code]
    status: Annotated[GrantStatus, Code]
    not_before: AwareDatetime
    not_after: AwareDatetime | None = None
    model_versions: list[StrictStr] = []
    capabilities: list[StrictStr] = []
    purposes: list[StrictStr] = []
    foreign_nationals: Annotated[ForeignNationals, Code] | None = None
    listed_persons: list[StrictStr] = []
    excluded_groups: list[StrictStr] = []
    nationality_basis: Annotated[NationalityBasis, Code] | None = None
    allowed_countries: list[StrictStr] = []
    contractors: StrictBool = False
    agents: StrictBool = False
    seat_cap: int | None = None


class NationalityPart(_Part):
    c: StrictStr
    acquired: date | None = None
    ended: date | None = None


class PersonPart(_Part):
    id: StrictStr = ""
    status: Annotated[PersonStatus, Code] | None = None
    employment: Annotated[Employment, Code] | None = None
    us_person: Annotated[UsPerson, Code] = UsPerson.UNKNOWN
    us_basis: Annotated[UsBasis, Code] | None = None
    citizenships: list[NationalityPart] = []
    residencies: list[NationalityPart] = []
    evidence_expires: AwareDatetime | None = None
    training_expires: AwareDatetime | None = None
    aup: StrictBool = False
    tcp: StrictBool = False
    approvals: list[StrictStr] = []
    requested_by: StrictStr | None = None
    review_due: AwareDatetime | None = None
    screening: ScreeningPart | None = None


class LocationPart(_Part):
    country: StrictStr | None = None
    region: StrictStr | None = None
    source: StrictStr | None = None
    conflict: StrictBool = False
    anonymizer: StrictBool = False


class SeatPart(_Part):
    assigned: StrictBool = False
    used: dict[str, int] = {}


class EndpointPart(_Part):
    id: StrictStr | None = None
    registered: StrictBool = False
    attested: StrictBool = False
    org: StrictStr | None = None


class SessionPart(_Part):
    mfa: Annotated[Mfa, Code] | None = None


class AgentPart(_Part):
    id: StrictStr = ""
    sponsor: StrictStr | None = None
    status: Annotated[AgentStatus, Code] | None = None
    scopes: list[StrictStr] = []
    expires: AwareDatetime | None = None
    runtime_country: StrictStr | None = None
    depth: int | None = None


class IncidentPart(_Part):
    id: StrictStr | None = None


class BreakGlassPart(_Part):
    incident: StrictStr | None = None
    organization: StrictStr | None = None
    people: list[StrictStr] | None = None
    model: StrictStr | None = None
    opened_by: StrictStr | None = None
    approvers: list[StrictStr] = []
    opened: AwareDatetime | None = None
    expires: AwareDatetime | None = None


class Document(_Part):
    """One situation: what is on record, what is asked, and when."""

    now: AwareDatetime
    policy: PolicyPart = PolicyPart()
    model: ModelPart = ModelPart()
    request: RequestPart = RequestPart()
    org: OrganizationPart = OrganizationPart()
    grants: list[GrantPart] = []
    person: PersonPart | None = None
    location: LocationPart = LocationPart()
    seat: SeatPart = SeatPart()
    endpoint: EndpointPart | None = None
    session: SessionPart = SessionPart()
    agent: AgentPart | None = None
    incident_lock: IncidentPart | None = None
    break_glass: BreakGlassPart | None = None

    def asked(self) -> Request:
        """The request; in a case file the agent's sponsor is the person."""
        return Request(
            subject_type="agent" if self.agent else "person",
            subject_id=self.agent.id if self.agent else self.person.id if self.person else "",
            action=self.request.action,
            capability=self.request.capability,
            purpose=self.request.purpose,
            resource_type="model",
            model=self.model.id,
            version=self.model.version,
            location=Location(
                normalise(self.location.country),
                normalise_region(self.location.region),
                self.location.anonymizer,
                self.location.conflict,
            ),
            endpoint=self.endpoint.id if self.endpoint else None,
            mfa=self.session.mfa,
            break_glass="named" if self.break_glass else None,
        )

    def records(self, jurisdictions: facts.Jurisdictions) -> facts.Records:
        return facts.Records(
            programme=_programme(self),
            organization=_organization(self),
            person=_person(self.person, self) if self.person else None,
            agent=_agent(self.agent) if self.agent else None,
            grants=tuple(_grant(grant, self) for grant in self.grants if grant.org == self.org.id),
            endpoint=_endpoint(self.endpoint) if self.endpoint else None,
            break_glass=_break_glass(self.break_glass) if self.break_glass else None,
            jurisdictions=jurisdictions,
        )


def _programme(document: Document) -> facts.Programme:
    skew = document.policy.clock_skew_s
    return facts.Programme(
        data_reviewed_at=document.policy.country_data_reviewed_at,
        clock_skew=None if skew is None else timedelta(seconds=skew),
        emergency=document.model.emergency_stop,
        directives=tuple(
            facts.Directive(
                versions=frozenset(part.model_versions),
                applies_to=part.applies_to,
                window=facts.Window(part.from_, part.until),
                exempt=document.org.id in part.exempt_orgs,
            )
            for part in document.model.directives
        ),
        affiliates_rule=(EVER,) if document.policy.affiliates_rule_in_force else (),
    )


def _organization(document: Document) -> facts.Organization:
    part = document.org
    return facts.Organization(
        id=part.id,
        status=part.status,
        parent_country=normalise(part.ultimate_parent_country),
        blocked_percent=part.blocked_owner_aggregate_pct,
        listed_percent=part.listed_owner_aggregate_pct,
        ownership_change_pending=part.ownership_change_pending,
        screening=part.screening.record() if part.screening else None,
        incident=document.incident_lock is not None,
    )


def _grant(part: GrantPart, document: Document) -> facts.Grant:
    return facts.Grant(
        id=part.id,
        authority=part.authority,
        status=part.status,
        not_before=part.not_before,
        not_after=part.not_after,
        versions=frozenset(part.model_versions),
        capabilities=frozenset(part.capabilities),
        purposes=frozenset(part.purposes),
        foreign_nationals=part.foreign_nationals,
        excluded_groups=frozenset(part.excluded_groups),
        nationality_basis=part.nationality_basis,
        allowed_countries=frozenset(normalise(country) or "" for country in part.allowed_countries),
        contractors=part.contractors,
        agents=part.agents,
        seat_cap=part.seat_cap,
        seats_used=document.seat.used.get(part.id, 0),
    )


def _person(part: PersonPart, document: Document) -> facts.Person:
    return facts.Person(
        id=part.id,
        status=part.status,
        employment=part.employment,
        us_person=part.us_person,
        us_basis=part.us_basis,
        nationalities=tuple(
            facts.Nationality(kind, normalise(record.c), record.acquired, record.ended)
            for kind, records in (
                (NationalityKind.CITIZENSHIP, part.citizenships),
                (NationalityKind.PERMANENT_RESIDENCY, part.residencies),
            )
            for record in records
        ),
        evidence_expires=part.evidence_expires,
        training_expires=part.training_expires,
        acceptable_use=part.aup,
        technology_control_plan=part.tcp,
        approvers=frozenset(part.approvals),
        requested_by=part.requested_by,
        review_due=part.review_due,
        screening=part.screening.record() if part.screening else None,
        seats=frozenset(grant.id for grant in document.grants if document.seat.assigned),
        listed=frozenset(grant.id for grant in document.grants if part.id in grant.listed_persons),
    )


def _agent(part: AgentPart) -> facts.Agent:
    return facts.Agent(
        id=part.id,
        status=part.status,
        scopes=frozenset(part.scopes),
        expires=part.expires,
        runtime_country=normalise(part.runtime_country),
        depth=part.depth,
    )


def _endpoint(part: EndpointPart) -> facts.Endpoint:
    return facts.Endpoint(organization=part.org, registered=part.registered, attested=part.attested)


def _break_glass(part: BreakGlassPart) -> facts.BreakGlass:
    return facts.BreakGlass(
        incident=part.incident,
        organization=part.organization,
        people=None if part.people is None else frozenset(part.people),
        model=part.model,
        opened_by=part.opened_by,
        approvers=frozenset(part.approvers),
        opened=part.opened,
        expires=part.expires,
    )


# --- running --------------------------------------------------------------------------------------------------


class Expectation(_Part):
    decision: Literal["ALLOW", "DENY", "HOLD"]
    primary_reason: StrictStr
    all_reasons_in_tier: list[StrictStr]
    cause: list[StrictStr] | None = None
    bypassed: list[StrictStr] | None = None

    def differences(self, got: Decision) -> dict[str, tuple[object, object]]:
        """What differs, as (expected, got); `cause` and `bypassed` are compared where they are stated."""
        pairs: dict[str, tuple[object, object]] = {
            "decision": (self.decision, got.outcome.value),
            "primary_reason": (self.primary_reason, got.primary),
            "all_reasons_in_tier": (self.all_reasons_in_tier, list(got.codes)),
        }
        if self.cause is not None:
            pairs["cause"] = (self.cause, list(got.cause))
        if self.bypassed is not None:
            pairs["bypassed"] = (self.bypassed, list(got.bypassed))
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


class Scenario(_Part):
    id: StrictStr
    overrides: dict[str, Any]
    expect: Expectation
    plane: Literal["decision"] = "decision"
    title: str = ""
    tags: list[str] = []
    given: str = ""
    when: str = ""
    why: str = ""
    source: str = ""


class CaseFile(_Part):
    schema_: Literal["mythos-gate-cases/1"]
    base: dict[str, Any]
    scenarios: Annotated[list[Scenario], Field(min_length=1)]
    note: str = ""
    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.rstrip("_"))


@dataclass(frozen=True, slots=True)
class Result:
    scenario: Scenario
    differences: Mapping[str, tuple[object, object]]
    vector: facts.Vector


def read(text: str) -> CaseFile:
    """Read a case file; `Invalid` names the place of an unknown or missing field."""
    try:
        return CaseFile.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise Invalid(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except ValidationError as error:
        raise Invalid(_problems(error)) from error


def document(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Document:
    """The situation of one scenario; `Invalid` names the place of an unknown or missing field."""
    try:
        return Document.model_validate(merge(base, overrides))
    except ValidationError as error:
        raise Invalid(_problems(error)) from error


def situations(cases: CaseFile) -> Iterator[tuple[Scenario, Document]]:
    """Each scenario with what it is about; `Invalid` names the scenario and the place."""
    for scenario in cases.scenarios:
        try:
            yield scenario, document(cases.base, scenario.overrides)
        except Invalid as error:
            raise Invalid(f"{scenario.id}: {error}") from error


def run(cases: CaseFile, policy: Policy, jurisdictions: facts.Jurisdictions) -> Iterator[Result]:
    """Decide every scenario by the policy and compare."""
    for scenario, situation in situations(cases):
        records = situation.records(jurisdictions)
        records.thresholds = policy.thresholds
        derived = facts.derive(records, situation.asked(), situation.now)
        decision = policy.decide(derived.vector)
        yield Result(scenario, scenario.expect.differences(decision), derived.vector)


def merge(base: Any, overrides: Any) -> Any:
    """Deep-merge objects; lists, null and all else replace."""
    if not (isinstance(base, Mapping) and isinstance(overrides, Mapping)):
        return overrides
    return {**base, **{key: merge(base.get(key), value) for key, value in overrides.items()}}


def read_jurisdictions(text: str) -> facts.Jurisdictions:
    """The jurisdictions' data set from its CSV form."""
    return facts.Jurisdictions(
        {
            row["code"]: facts.Jurisdiction(
                Treatment(row["treatment"]), frozenset(row["groups"].split()), row["inherits"] or None
            )
            for row in csv.DictReader(io.StringIO(text), strict=True)
        }
    )


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg'].lower()}" for each in error.errors())
