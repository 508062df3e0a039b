"""From records to facts: one pure function, whose vector is all that the policy sees."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from mythos_gate.authn.act import Chain
from mythos_gate.decision.request import Request
from mythos_gate.terms import (
    COVERAGE,
    DATA_REVIEW,
    LONGEST_BREAK_GLASS,
    AgentStatus,
    AuthorityKind,
    DirectiveClass,
    Employment,
    ForeignNationals,
    GrantStatus,
    NationalityBasis,
    NationalityKind,
    OrganizationStatus,
    PersonStatus,
    ScreeningStatus,
    Treatment,
    UsBasis,
    UsPerson,
)

FAR = datetime.max.replace(tzinfo=UTC)
INSTANT = timedelta(microseconds=1)  # the resolution of the database's clock
US = "US"
MACAU = "MO"
UKRAINE = "UA"
EMBARGOED_GROUPS = frozenset({"E:1", "E:2"})  # Supplement 1 to 15 CFR Part 740
RESTRICTED_GROUPS = frozenset({"D:5"})  # and Macau, which has a row of its own

Vector: TypeAlias = Mapping[str, str]
# Two times of one zone object are compared in a fraction of the time: what is read as JSON is brought to it.
Instant = Annotated[datetime, AfterValidator(lambda read: read.astimezone(UTC))]


# --- what the gate has on record ------------------------------------------------------------------------------

# What is made anew for each request (Programme, Records, Derived) is not frozen: freezing costs more than making it.


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """One row of the reviewed data set; `inherits` names the code whose groups it has."""

    treatment: Treatment
    groups: frozenset[str] = frozenset()
    inherits: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What the data set says of a code. `canonical`: the territories of the United States are it (15 CFR 772.1)."""

    canonical: str | None
    usable: bool = False  # a country with a row that is not indeterminate
    groups: frozenset[str] = frozenset()
    embargoed: bool = False
    restricted: bool = False


class Jurisdictions(dict[str, Jurisdiction]):
    """The rows of a data set by code, which do not change: what they say of each is worked out once."""

    __slots__ = ("_places",)

    def __init__(self, rows: Mapping[str, Jurisdiction] | None = None) -> None:
        super().__init__(rows or {})
        self._places = {code: self._place(code, row) for code, row in self.items()}

    def place(self, code: str | None) -> Place:
        """What is known of a code, which may be any text, or none."""
        return self._places.get(code or "") or Place(code, restricted=code == MACAU)

    def _place(self, code: str, row: Jurisdiction) -> Place:
        named = self.get(row.inherits) if row.inherits is not None else row
        groups = named.groups if named is not None else frozenset[str]()
        return Place(
            # Hong Kong stays Hong Kong.
            canonical=US if row.inherits == US else code,
            usable=row.treatment in {Treatment.LISTED, Treatment.INHERITS},
            groups=groups,
            embargoed=not EMBARGOED_GROUPS.isdisjoint(groups),
            restricted=code == MACAU or not RESTRICTED_GROUPS.isdisjoint(groups),
        )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits, all inclusive."""

    clock_skew: timedelta = timedelta(seconds=5)
    data_review: timedelta = DATA_REVIEW
    screening_age: timedelta = timedelta(hours=48)
    break_glass: timedelta = LONGEST_BREAK_GLASS
    blocked_percent: float = 50  # OFAC FAQ 401: in aggregate, exactly 50 % counts
    agent_depth: int = 1
    approvers: int = 2


@dataclass(frozen=True, slots=True)
class Window:
    """`start <= t < end`; an open end is None."""

    start: Instant
    end: Instant | None = None


@dataclass(frozen=True, slots=True)
class Directive:
    """An authority's order that suspends model versions for a class. `exempt`: this organization is exempt."""

    versions: frozenset[str]
    applies_to: DirectiveClass
    window: Window
    exempt: bool = False


@dataclass(slots=True)
class Programme:
    """The global part: the same for every subject."""

    data_reviewed_at: Instant | None = None
    clock_skew: timedelta | None = None
    emergency: bool = False
    directives: tuple[Directive, ...] = ()
    affiliates_rule: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Screening:
    status: ScreeningStatus
    screened_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    status: OrganizationStatus
    parent_country: str | None = None
    blocked_percent: float = 0
    listed_percent: float = 0
    ownership_change_pending: bool = False
    screening: Screening | None = None
    incident: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """`reference` is its authority's id. Of `seats_used` only counts whether it has reached the cap."""

    id: str
    authority: AuthorityKind
    status: GrantStatus
    not_before: Instant
    reference: str = ""
    not_after: Instant | None = None
    versions: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    foreign_nationals: ForeignNationals | None = None
    excluded_groups: frozenset[str] = frozenset()
    nationality_basis: NationalityBasis | None = None
    allowed_countries: frozenset[str] = frozenset()
    contractors: bool = False
    agents: bool = False
    seat_cap: int | None = None
    seats_used: int = 0


@dataclass(frozen=True, slots=True)
class Nationality:
    """A citizenship or permanent residency; `country` is normalised."""

    kind: NationalityKind
    country: str | None
    acquired: date | None = None
    ended: date | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """`names`: every text that an approver or requester column may use for this person.

    `seats` and `listed`: the grants under which they hold a seat, and those that list them.
    """

    id: str
    names: frozenset[str] = frozenset()
    status: PersonStatus | None = None
    employment: Employment | None = None
    us_person: UsPerson = UsPerson.UNKNOWN
    us_basis: UsBasis | None = None
    nationalities: tuple[Nationality, ...] = ()
    evidence_expires: Instant | None = None
    training_expires: Instant | None = None
    acceptable_use: bool = False
    technology_control_plan: bool = False
    approvers: frozenset[str] = frozenset()
    requested_by: str | None = None
    review_due: Instant | None = None
    screening: Screening | None = None
    incident: bool = False
    seats: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    approvals: int = field(init=False)  # by others than themselves and whoever requested it

    def __post_init__(self) -> None:
        independent = self.approvers - self.names - {self.id, self.requested_by}
        object.__setattr__(self, "approvals", len(independent))


@dataclass(frozen=True, slots=True)
class Agent:
    """`name` is the external id, as its tokens call it."""

    id: str
    status: AgentStatus | None = None
    scopes: frozenset[str] = frozenset()
    expires: Instant | None = None
    runtime_country: str | None = None
    depth: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    organization: str | None = None
    registered: bool = False
    attested: bool = False
    incident: bool = False


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """None for organization, people or model means any."""

    incident: str | None = None
    organization: str | None = None
    people: frozenset[str] | None = None
    model: str | None = None
    opened_by: str | None = None
    approvers: frozenset[str] = frozenset()
    opened: Instant | None = None
    expires: Instant | None = None


@dataclass(slots=True)
class Records:
    """All that a decision may depend on. `agent` is set when an agent asks; `person` is then its sponsor."""

    programme: Programme = field(default_factory=Programme)
    organization: Organization | None = None
    person: Person | None = None
    agent: Agent | None = None
    grants: tuple[Grant, ...] = ()
    endpoint: Endpoint | None = None
    break_glass: BreakGlass | None = None
    jurisdictions: Jurisdictions = field(default_factory=Jurisdictions)
    thresholds: Thresholds = Thresholds()

    def knows_subject(self, request: Request) -> bool:
        asked = self.agent if request.by_agent else self.person if request.subject_type == "person" else None
        return asked is not None and self.person is not None and self.organization is not None


# --- the derivation -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Derived:
    """The vector, the earliest instant at which it may change, and the best grant of each authority kind."""

    vector: Vector
    until: datetime
    best: Mapping[AuthorityKind, Grant]


class Moment:
    """Now, and the earliest later instant that a fact was compared with: until then every comparison stands."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.until = FAR

    def reached(self, instant: datetime) -> bool:
        if self.now >= instant:
            return True
        if instant < self.until:  # noqa: PLR1730  a call would cost more than all of this
            self.until = instant
        return False

    def within(self, start: datetime, end: datetime | None) -> bool:
        return self.reached(start) and (end is None or not self.reached(end))

    def older_than(self, instant: datetime, age: timedelta) -> bool:
        """More than `age` ago: exactly `age` is still fine."""
        try:
            return self.reached(instant + age + INSTANT)
        except OverflowError:  # it never comes
            return False

    def day_reached(self, day: date) -> bool:
        return self.reached(datetime.combine(day, time(), UTC))


@dataclass(slots=True)
class Asked:
    """A question about records at a moment, with what several facts look up of it."""

    records: Records
    request: Request
    moment: Moment
    version: str | None
    places: list[Place]
    attributed: dict[NationalityBasis, "Attribution"] = field(default_factory=dict)

    def attribution(self, basis: NationalityBasis) -> "Attribution":
        """The person's countries under a basis: several grants may share it."""
        found = self.attributed.get(basis)
        if found is None:
            person, jurisdictions = self.records.person, self.records.jurisdictions
            assert person is not None
            found = self.attributed[basis] = attribute(person, basis, jurisdictions, self.moment)
        return found


def derive(records: Records, request: Request, now: datetime) -> Derived:
    """One value for every fact; of several that apply, the one that `terms.FACTS` names first."""
    moment = Moment(now)
    asked = Asked(records, request, moment, major_minor(request.version), _places(records, request))
    vector = _of_request(asked)
    best: dict[AuthorityKind, Grant] = {}
    if records.knows_subject(request):
        _of_subject(asked, vector, best)
    else:
        vector |= UNKNOWN_SUBJECT
    vector["directive"] = directive(records.programme, asked.version, vector["presence"], moment)
    return Derived(vector, moment.until, best)


# No such person or agent, or an agent without a sponsor on record.
UNKNOWN_SUBJECT = {
    "subject": "unknown", "organization": "terminated", "ownership": "review_pending", "vendor": "none",
    "government": "none", "person": "ended", "presence": "unverified", "screening": "incomplete",
    "nationality": "not_assessed", "training": "expired", "agreements": "missing", "approval": "incomplete",
    "review": "overdue", "agent": "none",
}  # fmt: skip


def _of_request(asked: Asked) -> dict[str, str]:
    records, request, moment = asked.records, asked.request, asked.moment
    return {
        "integrity": _integrity(records, moment),
        "stop": _stop(records),
        "location": _location(asked.places, request, records),
        "endpoint": _endpoint(records),
        "session": "strong" if request.by_agent or request.mfa == "phishing_resistant" else "weak",
        "break_glass": _break_glass(records, request, moment),
    }


# Each kind of authority names the fact of its coverage.
COVERING = tuple((kind, kind.value) for kind in AuthorityKind)


def _of_subject(asked: Asked, vector: dict[str, str], best: dict[AuthorityKind, Grant]) -> None:
    records, request, moment = asked.records, asked.request, asked.moment
    person, organization = records.person, records.organization
    assert person is not None
    assert organization is not None
    vector["subject"] = "agent" if request.by_agent else "person"
    vector["organization"] = organization.status.value
    vector["ownership"] = _ownership(organization, records, moment)
    for kind, fact in COVERING:
        vector[fact], grant = _coverage(kind, asked)
        if grant is not None:
            best[kind] = grant
    vector["person"] = _person(person)
    vector["presence"] = _presence(person, asked.places)
    vector["screening"] = _screening(person.screening, moment, records.thresholds)
    vector["nationality"] = _nationality(person, best.values(), asked)
    vector["training"] = "expired" if _ended(person.training_expires, moment) else "current"
    vector["agreements"] = "signed" if person.acceptable_use and person.technology_control_plan else "missing"
    vector["approval"] = "complete" if person.approvals >= records.thresholds.approvers else "incomplete"
    vector["review"] = "overdue" if _ended(person.review_due, moment) else "current"
    vector["agent"] = _agent(records, request, moment) if request.by_agent else "none"


def _integrity(records: Records, moment: Moment) -> str:
    skew, reviewed = records.programme.clock_skew, records.programme.data_reviewed_at
    if skew is None or abs(skew) > records.thresholds.clock_skew:
        return "clock_untrusted"
    if reviewed is None or not moment.reached(reviewed) or moment.older_than(reviewed, records.thresholds.data_review):
        return "reference_data_overdue"
    return "sound"


def _stop(records: Records) -> str:
    if records.programme.emergency:
        return "emergency"
    for noun in (records.organization, records.person, records.endpoint):
        if noun is not None and noun.incident:
            return "incident"
    return "none"


def directive(programme: Programme, version: str | None, presence: str, moment: Moment) -> str:
    """The fact of this name. Of the subject it follows from the presence alone."""
    if not programme.directives:
        return "none"
    counting = [
        each
        for each in programme.directives
        if moment.within(each.window.start, each.window.end)
        and version in each.versions
        and (each.applies_to == DirectiveClass.ALL or presence != "us_domestic")
    ]
    if not counting:
        return "none"
    return "exempt" if all(each.exempt for each in counting) else "applies"


def major_minor(version: str | None) -> str | None:
    """`5.1` names 5.1.x, so a version is known by its first two parts."""
    return None if version is None else ".".join(version.split(".")[:2])


def _ownership(organization: Organization, records: Records, moment: Moment) -> str:
    screening = organization.screening.status if organization.screening else None
    limit = records.thresholds.blocked_percent
    parent = records.jurisdictions.place(organization.parent_country)
    if screening == ScreeningStatus.TRUE_MATCH:
        return "match"
    if organization.blocked_percent >= limit:
        return "blocked"
    switches = records.programme.affiliates_rule
    if organization.listed_percent >= limit and any(moment.within(each.start, each.end) for each in switches):
        return "listed_affiliate"
    if parent.embargoed or parent.restricted:
        return "restricted_parent"
    reviewed = screening is ScreeningStatus.CLEAR or screening is ScreeningStatus.FALSE_POSITIVE
    if organization.ownership_change_pending or not reviewed or not parent.usable:
        return "review_pending"
    return "clear"


def _person(person: Person) -> str:
    if person.status != PersonStatus.ACTIVE:
        return "suspended"
    works = person.employment is Employment.EMPLOYEE or person.employment is Employment.CONTRACTOR
    return "active" if works else "ended"


def _presence(person: Person, places: list[Place]) -> str:
    domestic = all([place.canonical == US for place in places])
    match person.us_person:
        case UsPerson.YES if person.us_basis is not None:
            return "us_domestic" if domestic else "us_abroad"
        case UsPerson.NO:
            return "foreign_domestic" if domestic else "foreign_abroad"
        case _:
            return "unverified"


def _screening(screening: Screening | None, moment: Moment, thresholds: Thresholds) -> str:
    if screening is None:
        return "incomplete"
    if screening.status == ScreeningStatus.TRUE_MATCH:
        return "match"
    if screening.status == ScreeningStatus.PENDING:
        return "pending"
    at = screening.screened_at
    if screening.status == ScreeningStatus.INCOMPLETE or at is None or not moment.reached(at):
        return "incomplete"
    return "stale" if moment.older_than(at, thresholds.screening_age) else "clear"


def _ended(instant: datetime | None, moment: Moment) -> bool:
    """No date has ended, and an end is exclusive."""
    return instant is None or moment.reached(instant)


def _endpoint(records: Records) -> str:
    endpoint, organization = records.endpoint, records.organization
    if endpoint is None or not endpoint.registered:
        return "unregistered"
    if endpoint.organization is None or organization is None or endpoint.organization != organization.id:
        return "other_organization"
    return "attested" if endpoint.attested else "unattested"


def _agent(records: Records, request: Request, moment: Moment) -> str:
    agent = records.agent
    if agent is None or agent.status != AgentStatus.ACTIVE:
        return "unregistered"
    if _ended(agent.expires, moment):
        return "credential_expired"
    if request.asked_capability not in agent.scopes:
        return "scope_exceeded"
    deepest = records.thresholds.agent_depth
    if agent.depth is None or agent.depth > deepest or not _is_whole(request.chain, records, moment):
        return "depth_exceeded"
    return "registered"


def _is_whole(chain: Chain | None, records: Records, moment: Moment) -> bool:
    """Whether a token, if there is one, shows this agent acting for its sponsor, through no more agents than it may."""
    if chain is None:
        return True
    agent, person = records.agent, records.person
    if agent is None or person is None or chain.actors[0] != agent.name or chain.principal not in person.names:
        return False
    return len(chain.actors) <= records.thresholds.agent_depth and moment.within(chain.not_before, chain.expires_at)


def _break_glass(records: Records, request: Request, moment: Moment) -> str:
    if request.break_glass is None:
        return "none"
    glass = records.break_glass
    if glass is None or not glass.incident or not _in_scope(glass, records, request):
        return "invalid"
    subject = records.person.names | {records.person.id} if records.person else frozenset[str]()
    if len(glass.approvers - subject - {glass.opened_by}) < records.thresholds.approvers:
        return "invalid"
    if glass.opened is None or glass.expires is None or glass.expires - glass.opened > records.thresholds.break_glass:
        return "invalid"
    return "active" if moment.within(glass.opened, glass.expires) else "invalid"


def _in_scope(glass: BreakGlass, records: Records, request: Request) -> bool:
    organization = records.organization.id if records.organization else None
    person = records.person.id if records.person else None
    return (
        glass.organization in {None, organization}
        and (glass.people is None or person in glass.people)
        and glass.model in {None, request.model}
    )


# --- countries ------------------------------------------------------------------------------------------------


def _places(records: Records, request: Request) -> list[Place]:
    """The country given and, for an agent, its runtime's."""
    given = records.jurisdictions.place(request.location.country)
    if not request.by_agent:
        return [given]
    return [given, records.jurisdictions.place(records.agent.runtime_country if records.agent else None)]


def _location(places: list[Place], request: Request, records: Records) -> str:
    location, jurisdictions = request.location, records.jurisdictions
    region = jurisdictions.get(location.region) if location.region else None
    embargoed_region = region is not None and region.treatment == Treatment.EMBARGOED
    if embargoed_region or any([place.embargoed for place in places]):
        return "embargoed"
    # A region is known of the place given only; a runtime in Ukraine has none on record.
    without_region = any([place.canonical == UKRAINE for place in (places[1:] if location.region else places)])
    if location.anonymizer or without_region or not all([place.usable for place in places]):
        return "unverified"
    if location.conflict or (location.region and _prefix_differs(location.region, places[0], jurisdictions)):
        return "conflict"
    return "restricted" if any([place.restricted for place in places]) else "permitted"


def _prefix_differs(region: str, given: Place, jurisdictions: Jurisdictions) -> bool:
    return jurisdictions.place(region.split("-", maxsplit=1)[0]).canonical != given.canonical


# --- nationality ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribution:
    """The countries attributed under one basis, or the defect at which attribution stopped."""

    countries: frozenset[str] = frozenset()
    defect: str | None = None


def attribute(person: Person, basis: NationalityBasis, jurisdictions: Jurisdictions, moment: Moment) -> Attribution:
    """Attribute nationality: 15 CFR 734.13(b), 22 CFR 120.50(b), or every current one."""
    considered = list(_considered(person.nationalities, basis, moment))
    defect = _code_defect([record.country for record in considered], jurisdictions)
    if defect is not None:
        return Attribution(defect=defect)
    dated = [
        (jurisdictions.place(record.country).canonical or "", record.acquired)
        for record in considered
        if jurisdictions[record.country or ""].treatment != Treatment.STATELESS
    ]
    countries = frozenset(country for country, _ in dated)
    if not countries:
        return Attribution(defect="stateless")
    if basis != NationalityBasis.EAR_MOST_RECENT or len(countries) == 1:
        return Attribution(countries)
    return _most_recent(dated)


def _considered(nationalities: Iterable[Nationality], basis: NationalityBasis, moment: Moment) -> Iterator[Nationality]:
    for record in nationalities:
        ended = record.ended is not None and moment.day_reached(record.ended)
        begun = record.acquired is None or moment.day_reached(record.acquired)
        once = basis == NationalityBasis.ITAR_ALL_EVER and record.kind == NationalityKind.CITIZENSHIP
        if once if ended else begun:
            yield record


def _code_defect(codes: Iterable[str | None], jurisdictions: Jurisdictions) -> str | None:
    rows = [jurisdictions.get(code) if code else None for code in codes]
    treatments = {row.treatment if row is not None else None for row in rows}
    # A region is no country: it is as unknown as a code without a row.
    if None in treatments or Treatment.EMBARGOED in treatments:
        return "unknown_code"
    if Treatment.WITHDRAWN in treatments:
        return "historical"
    return "indeterminate" if Treatment.INDETERMINATE in treatments else None


def _most_recent(dated: list[tuple[str, date | None]]) -> Attribution:
    days = [day for _, day in dated if day is not None]
    if len(days) < len(dated):
        return Attribution(defect="undated")
    latest = frozenset(country for country, day in dated if day == max(days))
    return Attribution(latest) if len(latest) == 1 else Attribution(defect="undated")


NATIONALITY = ("embargoed", "unknown_code", "historical", "undated", "stateless", "evidence_expired", "indeterminate")


def _nationality(person: Person, best: Iterable[Grant], asked: Asked) -> str:
    if person.us_person != UsPerson.NO:
        return "not_assessed"
    jurisdictions = asked.records.jurisdictions
    attributions = [
        asked.attribution(basis) for basis in {NationalityBasis.EAR_MOST_RECENT, *(_basis(grant) for grant in best)}
    ]
    found = {attribution.defect for attribution in attributions} - {None}
    if any([jurisdictions.place(country).embargoed for each in attributions for country in each.countries]):
        found.add("embargoed")
    if _ended(person.evidence_expires, asked.moment):
        found.add("evidence_expired")
    return next((value for value in NATIONALITY if value in found), "clear") if found else "clear"


# --- coverage -------------------------------------------------------------------------------------------------


def _basis(grant: Grant) -> NationalityBasis:
    """What a grant does not state denies."""
    return grant.nationality_basis or NationalityBasis.STRICT_ANY_CURRENT


REACHES = {reached: place for place, reached in enumerate(COVERAGE)}


def _coverage(kind: AuthorityKind, asked: Asked) -> tuple[str, Grant | None]:
    """How far the best grant of an authority kind reaches; conditions of two grants are never mixed."""
    candidates = [
        (REACHES[_first_failing(grant, asked)], grant)
        for grant in asked.records.grants
        if grant.authority is kind and grant.status is not GrantStatus.DRAFT
    ]
    if not candidates:
        return "none", None
    reach, grant = min(candidates, key=_rank) if len(candidates) > 1 else candidates[0]
    return COVERAGE[reach], grant


def _rank(candidate: tuple[int, Grant]) -> tuple[int, timedelta, str, str]:
    """Furthest down the list, then the latest not_after (an open end is the latest), then the smallest id."""
    # The id that people know it by comes before the gate's, which nobody could foresee.
    reach, grant = candidate
    return -reach, FAR - (grant.not_after or FAR), grant.reference, grant.id


def _first_failing(grant: Grant, asked: Asked) -> str:
    """The first of the conditions, in the order of `terms.COVERAGE`, that a grant does not meet; or `covered`."""
    return _unfit_itself(grant, asked) or _unfit_for(grant, asked) or "covered"


def _unfit_itself(grant: Grant, asked: Asked) -> str | None:
    """In time and standing, and for what is asked."""
    request, moment = asked.request, asked.moment
    if not moment.reached(grant.not_before):
        return "not_yet_valid"
    if grant.not_after is not None and moment.reached(grant.not_after):
        return "expired"
    if grant.status != GrantStatus.ACTIVE:
        return "suspended" if grant.status == GrantStatus.SUSPENDED else "revoked"
    if asked.version not in grant.versions:
        return "version"
    if request.asked_capability not in grant.capabilities:
        return "capability"
    return None if request.purpose in grant.purposes else "purpose"


def _unfit_for(grant: Grant, asked: Asked) -> str | None:
    """For whoever asks, and from where."""
    person, by_agent = asked.records.person, asked.request.by_agent
    assert person is not None
    if person.us_person == UsPerson.NO:
        if _excludes(grant, asked):
            return "nationality"
        if not _takes_foreign_national(grant, person):
            return "foreign_nationals"
    if person.employment == Employment.CONTRACTOR and not grant.contractors:
        return "contractor"
    if not _permits(grant, asked.places[0], asked.records.jurisdictions):
        return "location"
    if by_agent and not grant.agents:
        return "agents"
    if by_agent and not _permits(grant, asked.places[1], asked.records.jurisdictions):
        return "agent_runtime"
    full = grant.seat_cap is not None and grant.seats_used >= grant.seat_cap
    return "seat" if full and grant.id not in person.seats else None


def _excludes(grant: Grant, asked: Asked) -> bool:
    jurisdictions, excluded = asked.records.jurisdictions, grant.excluded_groups
    return any(
        [
            country in excluded or not excluded.isdisjoint(jurisdictions.place(country).groups)
            for country in asked.attribution(_basis(grant)).countries
        ]
    )


def _takes_foreign_national(grant: Grant, person: Person) -> bool:
    match grant.foreign_nationals:
        case ForeignNationals.ALL_EXCEPT:
            return True
        case ForeignNationals.LISTED:
            return grant.id in person.listed
        case _:
            return False


def _permits(grant: Grant, place: Place, jurisdictions: Jurisdictions) -> bool:
    if not place.usable:
        return False
    allowed = grant.allowed_countries
    if place.canonical in allowed or "*" in allowed:
        return True
    # Allowed by the name of one of its territories, the United States are.
    return place.canonical == US and any(jurisdictions.place(entry).canonical == US for entry in allowed)
