"""Impact: who gains and who loses by a draft, exactly, before anybody signs it.

A *path* is an organization, a grant, a person or agent, an attested endpoint and a model version; it is open if one of
the capabilities and purposes that the grant names is allowed. Where a person stands is the best of the answers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from typing import Any

from mythos_gate.analysis import population as everybody
from mythos_gate.analysis.population import Ask, Class, Holding, Population
from mythos_gate.decision import facts
from mythos_gate.decision.policy import Policy
from mythos_gate.terms import FACTS, Outcome, Treatment, UsPerson

# Supplement 1 to 15 CFR Part 740: an approval names each person newly allowed from these.
DELICATE = frozenset({"D:1", "D:5", "E:1", "E:2"})
INDETERMINATE = "indeterminate"
LISTED = 10_000  # ids of each kind
NO_REQUEST = "NO_STANDING_REQUEST"  # the organization has no grant or no attested endpoint
BEST = (Outcome.ALLOW, Outcome.HOLD, Outcome.DENY)
KINDS = {Outcome.ALLOW: "newly_allowed", Outcome.HOLD: "newly_held", Outcome.DENY: "newly_denied"}
VALUES = itemgetter(*FACTS)


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be different. `grants`: members of `facts.Grant` by the grant's id; `directives` by their model."""

    policy: Policy | None = None
    jurisdictions: facts.Jurisdictions | None = None
    directives: Mapping[str, Sequence[facts.Directive]] = field(default_factory=dict)
    grants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Path:
    """Of one grant and version on so many endpoints; open if one of these of the organization's requests is allowed."""

    grant: str
    version: str
    incident: bool
    endpoints: int
    asks: tuple[int, ...]

    @property
    def name(self) -> tuple[str, str, bool]:
        return self.grant, self.version, self.incident


@dataclass(slots=True)
class Plan:
    """An organization's standing requests, each once, and its paths."""

    asks: list[tuple[Holding, Ask]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a class stands: its best answer with the code, and the paths that are open, by grant, version, incident."""

    outcome: Outcome
    code: str
    open: Mapping[Path, int]


class World:
    """The population under a policy, a data set, directives and grants."""

    def __init__(self, population: Population, draft: Draft = Draft()) -> None:
        self.policy = draft.policy or population.policy
        self._plans = {
            organization: _plan([_changed(each, draft, self.policy) for each in holdings], population, organization)
            for organization, holdings in population.holdings.items()
        }
        self._now = population.now
        self._numbers: dict[tuple[str, ...], int] = {}
        self._vectors: list[tuple[str, ...]] = []
        self._stands: dict[tuple[str, tuple[int, ...]], Stand] = {}

    def answers(self, who: Class) -> tuple[int, ...]:
        """The number of the vector of each of the class's standing requests."""
        plan = self._plans.get(who.organization)
        return tuple(self._vector(who, holding, ask) for holding, ask in plan.asks) if plan else ()

    def _vector(self, who: Class, holding: Holding, ask: Ask) -> int:
        records = everybody.records(holding, who, incident=ask.incident)
        values = VALUES(facts.derive(records, ask.request(who), self._now).vector)
        if (number := self._numbers.get(values)) is None:
            number = self._numbers[values] = len(self._vectors)
            self._vectors.append(values)
        return number

    def stand(self, organization: str, answers: tuple[int, ...]) -> Stand:
        key = (organization, answers)
        if (found := self._stands.get(key)) is None:
            found = self._stands[key] = self._stood(organization, answers)
        return found

    def _stood(self, organization: str, answers: tuple[int, ...]) -> Stand:
        if not answers:
            return Stand(Outcome.DENY, NO_REQUEST, {})
        decided = [self.policy.by_table(dict(zip(FACTS, self._vectors[each], strict=True))) for each in answers]
        best = min(decided, key=lambda decision: BEST.index(decision.outcome))
        opened = {
            path: path.endpoints
            for path in self._plans[organization].paths
            if any([decided[each].allowed for each in path.asks])
        }
        return Stand(best.outcome, best.primary, opened)

    def under(self, policy: Policy) -> "World":
        """The same but for the table: vectors do not depend on it while the thresholds are the same."""
        other = object.__new__(World)
        other.policy, other._plans, other._now = policy, self._plans, self._now
        other._numbers, other._vectors, other._stands = self._numbers, self._vectors, {}
        return other


def _changed(holding: Holding, draft: Draft, policy: Policy) -> Holding:
    base = holding.records
    directives = (*base.programme.directives, *draft.directives.get(holding.model, ()))
    return Holding(
        holding.model,
        replace(
            base,
            programme=replace(base.programme, directives=directives),
            grants=tuple(replace(each, **draft.grants.get(each.id, {})) for each in base.grants),
            jurisdictions=base.jurisdictions if draft.jurisdictions is None else draft.jurisdictions,
            thresholds=policy.thresholds,
        ),
    )


def _plan(holdings: Sequence[Holding], population: Population, organization: str) -> Plan:
    plan, places = Plan(), dict[Ask, int]()
    for holding in holdings:
        for grant in everybody.standing(holding):
            for version in sorted(grant.versions):
                for incident, endpoints in population.endpoints.get(organization, {}).items():
                    indexes = []
                    for ask in everybody.asks(grant, holding.model, version, incident=incident):
                        if ask not in places:
                            places[ask] = len(plan.asks)
                            plan.asks.append((holding, ask))
                        indexes.append(places[ask])
                    plan.paths.append(Path(grant.id, version, incident, endpoints, tuple(indexes)))
    return plan


# --- the report -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """People and agents whose standing changes, and paths."""

    newly_allowed: int = 0
    newly_held: int = 0
    newly_denied: int = 0
    paths_gained: int = 0
    paths_lost: int = 0


@dataclass(slots=True)
class Impact:
    """`figures` is for whoever reads the programme; `apart` tells of nationality and names people: compliance's."""

    figures: dict[str, Any]
    apart: dict[str, Any]


class _Tally:
    def __init__(self, population: Population) -> None:
        self.population = population
        self.total = {"people": Counts(), "agents": Counts()}
        self.standing = {side: Counter[str]() for side in ("before", "after")}
        self.paths = Counter[str]()
        self.by: dict[str, dict[str, Counts]] = {
            name: {} for name in ("organization", "authority", "employment", "us_person", "country_group")
        }
        self.reasons = Counter[tuple[str, str]]()
        self.expiring = Counter[str]()
        self.listed: dict[str, list[str]] = {name: [] for name in KINDS.values()}
        self.acknowledge: list[str] = []
        self.wanting = Counter[str]()  # seats, by grant

    def add(self, who: Class, before: Stand, after: Stand) -> None:
        count = len(who.ids)
        self.standing["before"][before.outcome.lower()] += count
        self.standing["after"][after.outcome.lower()] += count
        self.paths["before"] += count * sum(before.open.values())
        self.paths["after"] += count * sum(after.open.values())
        if after.outcome == Outcome.ALLOW and who.is_expiring:
            self.expiring["allowed"] += count
        if before is after or before == after:
            return
        gained, lost = _difference(after, before), _difference(before, after)
        change = Counts(paths_gained=count * sum(gained.values()), paths_lost=count * sum(lost.values()))
        if before.outcome != after.outcome:
            setattr(change, KINDS[after.outcome], count)
            self._name(who, after)
        if before.code != after.code:
            self.reasons[before.code, after.code] += count
        self._count(who, change, gained, lost)

    def _name(self, who: Class, after: Stand) -> None:
        listed = self.listed[KINDS[after.outcome]]
        listed += who.ids[: max(0, LISTED - len(listed))]
        if after.outcome != Outcome.ALLOW:
            return
        self.expiring["newly_allowed"] += len(who.ids) if who.is_expiring else 0
        if DELICATE.union({INDETERMINATE}) & self._groups(who):
            self.acknowledge += who.ids
        if who.agent is None:
            for grant in {path.grant for path in after.open} - who.person.seats:
                self.wanting[grant] += len(who.ids)

    def _count(self, who: Class, change: Counts, gained: Mapping[Path, int], lost: Mapping[Path, int]) -> None:
        _add(self.total["people" if who.agent is None else "agents"], change)
        _add(self.by["organization"].setdefault(self.population.slugs[who.organization], Counts()), change)
        _add(self.by["employment"].setdefault(str(who.person.employment), Counts()), change)
        _add(self.by["us_person"].setdefault(who.person.us_person.value, Counts()), change)
        for group in sorted(self._groups(who)):
            _add(self.by["country_group"].setdefault(group, Counts()), change)
        for authority in {self.population.authorities[path.grant] for path in (*gained, *lost)}:
            of = [
                {path: number for path, number in paths.items() if self.population.authorities[path.grant] == authority}
                for paths in (gained, lost)
            ]
            count = len(who.ids)
            partial = replace(change, paths_gained=count * sum(of[0].values()), paths_lost=count * sum(of[1].values()))
            _add(self.by["authority"].setdefault(authority, Counts()), partial)

    def _groups(self, who: Class) -> frozenset[str]:
        """The country groups of a foreign person's countries."""
        if who.person.us_person == UsPerson.YES:
            return frozenset()
        jurisdictions = self.population.holdings[who.organization][0].records.jurisdictions
        found: set[str] = set()
        for record in who.person.nationalities:
            row = jurisdictions.get(record.country or "")
            if row is None or row.treatment not in {Treatment.LISTED, Treatment.INHERITS}:
                found.add(INDETERMINATE)
            found |= jurisdictions.place(record.country).groups
        return frozenset(found)


def _difference(one: Stand, other: Stand) -> dict[Path, int]:
    """What is open in one alone. Two worlds may ask about a path in different ways."""
    there = {path.name for path in other.open}
    return {path: number for path, number in one.open.items() if path.name not in there}


def _add(counts: Counts, change: Counts) -> None:
    for name, value in asdict(change).items():
        setattr(counts, name, getattr(counts, name) + value)


class Simulation:
    """A population, judged once as things stand; drafts are compared with that."""

    def __init__(self, population: Population, progress: Callable[[int, int], None]) -> None:
        self.population = population
        self._progress = progress
        self._base = World(population)
        self._before = list(self._each(self._base))

    def _each(self, world: World) -> Iterator[tuple[int, ...]]:
        classes = self.population.classes
        for done, who in enumerate(classes):
            if done % 1000 == 0:
                self._progress(done, len(classes))
            yield world.answers(who)
        self._progress(len(classes), len(classes))

    def impact(self, draft: Draft) -> Impact:
        """Exact: as if each standing request of each person and agent had been put before and after."""
        tally = _Tally(self.population)
        policy = draft.policy or self.population.policy
        is_table = draft == Draft(draft.policy) and policy.thresholds == self.population.policy.thresholds
        after = self._base.under(policy) if is_table else World(self.population, draft)
        answers = self._before if is_table else list(self._each(after))
        for who, old, new in zip(self.population.classes, self._before, answers, strict=True):
            home = who.organization
            tally.add(who, self._base.stand(home, old), after.stand(home, new))
        return _report(tally)


def _report(tally: _Tally) -> Impact:
    population = tally.population
    totals = [*tally.total.values()]
    before, after = tally.paths["before"], tally.paths["after"]
    figures = {
        "as_of": population.now.isoformat(),
        "people": population.people,
        "agents": population.agents,
        "standing": {side: dict(sorted(each.items())) for side, each in tally.standing.items()},
        "changes": {name: asdict(each) for name, each in tally.total.items()},
        "paths": {
            "before": before,
            "after": after,
            "gained": sum(each.paths_gained for each in totals),
            "lost": sum(each.paths_lost for each in totals),
            "ratio_thousandths": after * 1000 // max(before, 1),
        },
        **{f"by_{name}": _told(tally.by[name]) for name in ("organization", "authority", "employment")},
        "reasons": [
            {"before": one, "after": other, "subjects": number}
            for (one, other), number in sorted(tally.reasons.items(), key=lambda each: (-each[1], each[0]))
        ],
        "missing_or_expiring": dict(sorted(tally.expiring.items())),
        "seats_over": _seats_over(tally),
    }
    apart = {
        **{f"by_{name}": _told(tally.by[name]) for name in ("us_person", "country_group")},
        **{name: sorted(each) for name, each in tally.listed.items()},
        "acknowledge": sorted(tally.acknowledge),
    }
    return Impact(figures, apart)


def _told(counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    return {name: asdict(each) for name, each in sorted(counts.items())}


def _seats_over(tally: _Tally) -> dict[str, int]:
    """By grant: how many of the newly allowed there is no seat for."""
    grants = {
        grant.id: grant
        for holdings in tally.population.holdings.values()
        for holding in holdings
        for grant in holding.records.grants
    }
    over = {}
    for identifier, wanted in sorted(tally.wanting.items()):
        grant = grants[identifier]
        if grant.seat_cap is not None and wanted > max(0, grant.seat_cap - grant.seats_used):
            over[identifier] = wanted - max(0, grant.seat_cap - grant.seats_used)
    return over
