"""Impact: who gains and who loses by a draft, exactly, before anybody signs it.

A *path* is an organization, a grant, a person or agent, an attested endpoint and a model version; it is open if one of
the capabilities and purposes that the grant names is allowed. Where a person stands is the best of the answers.
"""

import multiprocessing
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from typing import Any

import asyncpg

from mythos_gate import db
from mythos_gate.analysis import population as everybody
from mythos_gate.analysis.population import Ask, Class, Holding, Population
from mythos_gate.db import DbRole
from mythos_gate.decision import facts
from mythos_gate.decision.library import Library
from mythos_gate.decision.policy import Decision, Policy
from mythos_gate.decision.request import Request
from mythos_gate.errors import NotDecided
from mythos_gate.terms import FACTS, ForeignNationals, GrantStatus, NationalityBasis, Outcome, Treatment, UsPerson

# Supplement 1 to 15 CFR Part 740: an approval names each person newly allowed from these.
DELICATE = frozenset({"D:1", "D:5", "E:1", "E:2"})
INDETERMINATE = "indeterminate"
LISTED = 10_000  # ids of each kind
NO_REQUEST = "NO_STANDING_REQUEST"  # the organization has no grant or no attested endpoint
BEST = (Outcome.ALLOW, Outcome.HOLD, Outcome.DENY)
KINDS = {Outcome.ALLOW: "newly_allowed", Outcome.HOLD: "newly_held", Outcome.DENY: "newly_denied"}
VALUES = itemgetter(*FACTS)


Terms = tuple[facts.Directive, frozenset[str]]  # with the ids of the organizations that are exempt


@dataclass(frozen=True, slots=True)
class Amended:
    """A directive about a model as it is and as it would be; None where it is not on record, or would not be."""

    model: str
    before: Terms | None
    after: Terms | None


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be different. `grants`: members of `facts.Grant` by the grant's id.

    `switches`: when the rule of affiliates is in force, and when it would be.
    """

    policy: Policy | None = None
    jurisdictions: facts.Jurisdictions | None = None
    directives: Sequence[Amended] = ()
    grants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    switches: Sequence[tuple[facts.Window, facts.Window]] = ()


ENUMS = {"status": GrantStatus, "foreign_nationals": ForeignNationals, "nationality_basis": NationalityBasis}


def member(name: str, value: Any) -> Any:
    """Of a grant, as `facts.Grant` has it: from what JSON or a column of a file has."""
    if isinstance(value, list):
        return frozenset(value)
    return value if value is None or name not in ENUMS else ENUMS[name](value)


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


Key = tuple[str, bool, tuple[int, ...]]  # an organization, whether by an agent, and the numbers of the answers


@dataclass(slots=True)
class Plan:
    """An organization's standing requests, each once, and its paths."""

    asks: list[tuple[Holding, Ask]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a class stands: its best answer with the code, and the paths that are open."""

    outcome: Outcome
    code: str
    open: tuple[Path, ...] = ()

    @property
    def paths(self) -> int:
        return _counted(self.open)


class Vectors:
    """Each vector once, by its number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        self._values: list[tuple[str, ...]] = []

    def number(self, values: tuple[str, ...]) -> int:
        if (number := self._numbers.get(values)) is None:
            number = self._numbers[values] = len(self._values)
            self._values.append(values)
        return number

    def values(self, number: int) -> tuple[str, ...]:
        return self._values[number]

    def facts(self, number: int) -> dict[str, str]:
        return dict(zip(FACTS, self._values[number], strict=True))


class Regime:
    """The population under a policy, a data set, directives and grants.

    With `base`, the one that it is compared with, only those are asked again whom the difference can concern.
    """

    def __init__(self, population: Population, draft: Draft = Draft(), base: "Regime | None" = None) -> None:
        self.policy = draft.policy or population.policy
        self.vectors: Vectors = Vectors() if base is None else base.vectors
        self._concern = None if base is None else Concern(population, draft, base.policy)
        self._moment = facts.Moment(population.now)
        self._requests: dict[tuple[Ask, str | None, bool], Request] = {}
        self._ordered: dict[tuple[str, bool, int, int], int] = {}
        self._stands: dict[Key, Stand] = {}
        self._decisions: dict[int, Decision] = {}
        self.plans: dict[tuple[str, bool], Plan] = {} if base is None else dict(base.plans)
        for organization, holdings in population.holdings.items():
            if self._concern is None or self._concern.touches(organization):
                changed = [_changed(each, draft, self.policy) for each in holdings]
                for by_agent in (False, True):
                    self.plans[organization, by_agent] = _plan(changed, population, organization, by_agent=by_agent)

    def concerns(self, who: Class) -> bool:
        """Whether the difference is such that the class has to be asked again."""
        return self._concern is None or self._concern.concerns(who)

    def answers(self, who: Class) -> tuple[int, ...]:
        """The number of the vector of each of the class's standing requests."""
        plan = self.plans.get((who.organization, who.agent is not None))
        if plan is None:
            return ()
        numbers, rest = [], None
        for holding, ask in plan.asks:
            if rest != (holding.model, ask.incident):
                rest, records = (holding.model, ask.incident), everybody.records(holding, who, incident=ask.incident)
            key = (ask, who.country, who.agent is None)
            if (request := self._requests.get(key)) is None:
                request = self._requests[key] = ask.request(who)
            numbers.append(self.vectors.number(VALUES(facts.derive(records, request, self._moment.now).vector)))
        return tuple(numbers)

    def ordered(self, key: "Key") -> tuple[int, ...]:
        """The answers of those whom the difference concerns by directives alone, from theirs in the base."""
        organization, by_agent, answers = key
        if self._concern is None or organization not in self._concern.ordered:
            return answers
        return tuple([self._order(organization, by_agent, at, number) for at, number in enumerate(answers)])

    def _order(self, organization: str, by_agent: bool, at: int, number: int) -> int:  # noqa: FBT001  a key of plans
        key = (organization, by_agent, at, number)
        if (found := self._ordered.get(key)) is None:
            holding, ask = self.plans[organization, by_agent].asks[at]
            values = self.vectors.facts(number)
            programme = holding.records.programme
            values["directive"] = facts.directive(programme, ask.version, values["presence"], self._moment)
            found = self._ordered[key] = self.vectors.number(VALUES(values))
        return found

    def stand(self, key: "Key") -> Stand:
        if (found := self._stands.get(key)) is None:
            found = self._stands[key] = self._stood(self.plans.get(key[:2], Plan()), key[2])
        return found

    def _stood(self, plan: Plan, answers: tuple[int, ...]) -> Stand:
        if not answers:
            return Stand(Outcome.DENY, NO_REQUEST)
        decided = [self._decision(each) for each in answers]
        best = min(decided, key=lambda decision: BEST.index(decision.outcome))
        opened = tuple(path for path in plan.paths if any([decided[each].allowed for each in path.asks]))
        return Stand(best.outcome, best.primary, opened)

    def _decision(self, number: int) -> Decision:
        if (found := self._decisions.get(number)) is None:
            found = self._decisions[number] = self.policy.by_table(self.vectors.facts(number))
        return found


class Concern:
    """Whom a draft can concern otherwise than by its rows. `ordered`: organizations that its directives concern."""

    def __init__(self, population: Population, draft: Draft, policy: Policy) -> None:
        models = {each.model for each in draft.directives}
        has_limits = draft.policy is not None and draft.policy.thresholds != policy.thresholds
        self._is_whole = has_limits or bool(draft.switches)
        self._moved = _moved(population, draft.jurisdictions)
        self.ordered = {name for name, each in population.holdings.items() if models & {other.model for other in each}}
        self._granted = {name for name, each in population.holdings.items() if self._is_granted(each, draft)}

    def _is_granted(self, holdings: Sequence[Holding], draft: Draft) -> bool:
        """Whether its grants are others, or it and they are read otherwise."""
        grants = [grant for holding in holdings for grant in holding.records.grants]
        organization = holdings[0].records.organization
        codes = {
            organization and organization.parent_country,
            *(each for one in grants for each in one.allowed_countries),
        }
        return any(grant.id in draft.grants for grant in grants) or not self._moved.isdisjoint(codes)

    def touches(self, organization: str) -> bool:
        """Whether anything of its requests can be otherwise."""
        return bool(self._is_whole or self._moved or organization in self.ordered or organization in self._granted)

    def concerns(self, who: Class) -> bool:
        if self._is_whole or who.organization in self._granted:
            return True
        return bool(self._moved) and not self._moved.isdisjoint(_codes(who))


def _moved(population: Population, after: facts.Jurisdictions | None) -> frozenset[str | None]:
    """The codes of which another data set says something else, by their own row or by the one that it inherits."""
    if after is None:
        return frozenset()
    before = next((each[0].records.jurisdictions for each in population.holdings.values()), after)
    codes = before.keys() | after.keys()
    return frozenset(
        each for each in codes if (before.get(each), before.place(each)) != (after.get(each), after.place(each))
    )


def _codes(who: Class) -> set[str | None]:
    runtime = who.agent.runtime_country if who.agent else None
    return {who.country, runtime, *(each.country for each in who.person.nationalities)}


def _changed(holding: Holding, draft: Draft, policy: Policy) -> Holding:
    base = holding.records
    directives = _amended(base, [each for each in draft.directives if each.model == holding.model])
    return Holding(
        holding.model,
        replace(
            base,
            programme=replace(base.programme, directives=directives, affiliates_rule=_switched(base, draft)),
            grants=tuple(replace(each, **draft.grants.get(each.id, {})) for each in base.grants),
            jurisdictions=base.jurisdictions if draft.jurisdictions is None else draft.jurisdictions,
            thresholds=policy.thresholds,
        ),
    )


def _switched(base: facts.Records, draft: Draft) -> tuple[facts.Window, ...]:
    """`NotDecided` likewise."""
    windows = list(base.programme.affiliates_rule)
    for before, after in draft.switches:
        if before not in windows:
            raise NotDecided("a switch was changed meanwhile: ask again")
        windows[windows.index(before)] = after
    return tuple(windows)


def _amended(base: facts.Records, amended: Sequence[Amended]) -> tuple[facts.Directive, ...]:
    """`NotDecided` if one is not as it was: it was changed since."""

    def own(terms: Terms) -> facts.Directive:
        return replace(terms[0], exempt=base.organization is not None and base.organization.id in terms[1])

    directives = list(base.programme.directives)
    for each in amended:
        if each.before is not None:
            if own(each.before) not in directives:
                raise NotDecided("a directive was changed meanwhile: ask again")
            directives.remove(own(each.before))
        if each.after is not None:
            directives.append(own(each.after))
    return tuple(directives)


def _plan(holdings: Sequence[Holding], population: Population, organization: str, *, by_agent: bool) -> Plan:
    """Of requests that no grant and no agent's scopes tell apart one is put."""
    plan, places = Plan(), dict[Any, int]()
    for holding in holdings:
        for grant in everybody.standing(holding):
            for version in sorted(grant.versions):
                for incident, endpoints in population.endpoints.get(organization, {}).items():
                    indexes = []
                    for ask in everybody.asks(grant, holding.model, version, incident=incident):
                        kind = _kind(holding, ask, by_agent=by_agent)
                        if kind not in places:
                            places[kind] = len(plan.asks)
                            plan.asks.append((holding, ask))
                        indexes.append(places[kind])
                    plan.paths.append(Path(grant.id, version, incident, endpoints, tuple(dict.fromkeys(indexes))))
    return plan


def _kind(holding: Holding, ask: Ask, *, by_agent: bool) -> Any:
    """What grants, directives and scopes can tell of a request."""
    named = tuple(
        (ask.capability in grant.capabilities, ask.purpose in grant.purposes) for grant in holding.records.grants
    )
    return ask.model, ask.version, ask.incident, named, ask.capability if by_agent else None


# --- the report -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """People and agents whose standing changes, and paths."""

    newly_allowed: int = 0
    newly_held: int = 0
    newly_denied: int = 0
    paths_gained: int = 0
    paths_lost: int = 0

    def add(self, other: "Counts") -> None:
        self.newly_allowed += other.newly_allowed
        self.newly_held += other.newly_held
        self.newly_denied += other.newly_denied
        self.paths_gained += other.paths_gained
        self.paths_lost += other.paths_lost


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
        self._moves: dict[tuple[int, int], tuple[Sequence[Path], Sequence[Path]]] = {}

    def add(self, classes: Sequence[Class], before: Stand, after: Stand) -> None:
        """Classes of one organization that stand alike, before and after."""
        count = sum(len(who.ids) for who in classes)
        self.standing["before"][before.outcome.lower()] += count
        self.standing["after"][after.outcome.lower()] += count
        self.paths["before"] += count * before.paths
        self.paths["after"] += count * after.paths
        if after.outcome == Outcome.ALLOW:
            self.expiring["allowed"] += sum(len(who.ids) for who in classes if who.is_expiring)
        gained, lost = self._moved(before, after)
        if before is after or (before.code == after.code and not gained and not lost):
            return
        for who in classes:
            self._change(who, before, after, gained, lost)

    def _change(self, who: Class, before: Stand, after: Stand, gained: Sequence[Path], lost: Sequence[Path]) -> None:
        count = len(who.ids)
        change = Counts(paths_gained=count * _counted(gained), paths_lost=count * _counted(lost))
        if before.outcome != after.outcome:
            setattr(change, KINDS[after.outcome], count)
            self._name(who, after)
        if before.code != after.code:
            self.reasons[before.code, after.code] += count
        self._count(who, change, gained, lost)

    def _moved(self, before: Stand, after: Stand) -> tuple[Sequence[Path], Sequence[Path]]:
        """The paths gained and lost: many classes make the same way."""
        key = (id(before), id(after))
        if (found := self._moves.get(key)) is None:
            found = self._moves[key] = _difference(after, before), _difference(before, after)
        return found

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

    def _count(self, who: Class, change: Counts, gained: Sequence[Path], lost: Sequence[Path]) -> None:
        self.total["people" if who.agent is None else "agents"].add(change)
        self.by["organization"].setdefault(self.population.slugs[who.organization], Counts()).add(change)
        self.by["employment"].setdefault(str(who.person.employment), Counts()).add(change)
        self.by["us_person"].setdefault(who.person.us_person.value, Counts()).add(change)
        for group in sorted(self._groups(who)):
            self.by["country_group"].setdefault(group, Counts()).add(change)
        count, authorities = len(who.ids), self.population.authorities
        for authority in {authorities[path.grant] for path in (*gained, *lost)}:
            of = [_counted(path for path in paths if authorities[path.grant] == authority) for paths in (gained, lost)]
            partial = replace(change, paths_gained=count * of[0], paths_lost=count * of[1])
            self.by["authority"].setdefault(authority, Counts()).add(partial)

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


def _difference(one: Stand, other: Stand) -> list[Path]:
    """What is open in one alone. Two worlds may ask about a path in different ways."""
    there = {path.name for path in other.open}
    return [path for path in one.open if path.name not in there]


def _counted(paths: Iterable[Path]) -> int:
    """One for each endpoint."""
    return sum(path.endpoints for path in paths)


@asynccontextmanager
async def _compliance(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await db.connect(url, DbRole.COMPLIANCE)
    try:
        yield connection
    finally:
        await connection.close()


async def everybody_at(
    url: str, drafts: Sequence[Policy], progress: Callable[[int], None] = lambda _: None
) -> Population:
    """All on record; `url` is of compliance's role."""
    async with _compliance(url) as connection:
        return await everybody.load(connection, Library(), drafts, progress)


async def data_set_at(url: str, identifier: str) -> facts.Jurisdictions:
    """One that is on record. `NotDecided` if its rows are not those that its id names."""
    async with _compliance(url) as connection:
        return await Library().jurisdictions(connection, identifier)


class Simulation:
    """A population, judged once as things stand; drafts are compared with that.

    A large one is judged by all cores: this process is forked, so it should have no other threads then.
    """

    def __init__(self, population: Population, progress: Callable[[int, int], None]) -> None:
        self.population = population
        self._progress = progress
        self._base = Regime(population)
        self._alike = _alike(population.classes, self._each(self._base, population.classes))

    def _each(self, regime: Regime, classes: Sequence[Class]) -> list[tuple[int, ...]]:
        """The answers of each class."""
        if len(classes) < PIECE * 4:
            return [regime.answers(who) for who in classes]
        _shared[:] = [regime, classes]
        found: list[tuple[int, ...]] = []
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
            for vectors, answers in pool.map(_piece, range(0, len(classes), PIECE)):
                numbers = [regime.vectors.number(values) for values in vectors]
                found += [tuple([numbers[each] for each in answer]) for answer in answers]
                self._progress(len(found), len(classes))
        _shared.clear()
        return found

    def impact(self, draft: Draft) -> Impact:
        """Exact: as if each standing request of each person and agent had been put before and after."""
        tally, base = _Tally(self.population), self._base
        after = Regime(self.population, draft, base)
        again: list[tuple[Key, Class]] = []
        for key, classes in self._alike.items():
            rest = [who for who in classes if not after.concerns(who)]
            again += [(key, who) for who in classes if len(rest) < len(classes) and after.concerns(who)]
            if rest:
                tally.add(rest, base.stand(key), after.stand((*key[:2], after.ordered(key))))
        answers = self._each(after, [who for _, who in again])
        moves: dict[tuple[Key, tuple[int, ...]], list[Class]] = {}
        for (key, who), new in zip(again, answers, strict=True):
            moves.setdefault((key, new), []).append(who)
        for (key, new), classes in moves.items():
            tally.add(classes, base.stand(key), after.stand((*key[:2], new)))
        return _report(tally)


def _alike(classes: Sequence[Class], answers: Sequence[tuple[int, ...]]) -> dict[Key, list[Class]]:
    """Those who stand alike, with their answers."""
    alike: dict[Key, list[Class]] = {}
    for who, each in zip(classes, answers, strict=True):
        alike.setdefault((who.organization, who.agent is not None, each), []).append(who)
    return alike


PIECE = 2_000  # classes that a process judges at a time
_shared: list[Any] = []  # what forked processes have of this one


def _piece(start: int) -> tuple[list[tuple[str, ...]], list[tuple[int, ...]]]:
    """The vectors of some classes, each once, and the answers of each class by their places."""
    regime, classes = _shared
    places: dict[int, int] = {}
    answers = [
        tuple([places.setdefault(number, len(places)) for number in regime.answers(who)])
        for who in classes[start : start + PIECE]
    ]
    return [regime.vectors.values(number) for number in places], answers


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
