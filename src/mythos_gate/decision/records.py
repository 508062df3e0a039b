"""The PIP: what is on record, kept in memory under the keys that a change touches, and composed for a request.

Every record in here holds as of the revision that the process knows (`revision.Known`): what a change touched was
dropped when its number was heard. A decision is composed without waiting in between, so all of it is of one snapshot,
which the statement that commits it checks once more.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mythos_gate import revision
from mythos_gate.authn.api_keys import STORED, Stored
from mythos_gate.decision import facts, fill
from mythos_gate.decision.fill import READ, SHAPES, Wanted, parse_name
from mythos_gate.decision.library import Connection, Library
from mythos_gate.decision.policy import Policy
from mythos_gate.decision.request import Request
from mythos_gate.decision.rollout import Beside, Choice
from mythos_gate.errors import NotDecided
from mythos_gate.revision import EVERYTHING, GLOBAL, Known, Seen

TRIES = 4  # of reading what a request needs, while it keeps changing
MOST = 50_000  # of each noun
MISSING = "the revision is missing: run `mythos-gate db upgrade`"


@dataclass(slots=True)
class Loaded:
    """Records with the snapshot that they stand for, the database's `now`, and the `keys` they rest on."""

    seen: Seen
    now: datetime
    keys: frozenset[str]
    stored_key: Stored | None
    records: facts.Records
    choice: Choice
    data_set: str
    subject_id: str | None
    organization_id: str | None
    endpoint_id: str | None
    model_known: bool
    capabilities: frozenset[str]  # that the organization's grants for the model name
    purposes: frozenset[str]

    @property
    def policy(self) -> Policy:
        return self.choice.policy

    @property
    def policy_revision(self) -> int:
        return self.choice.revision


@dataclass(frozen=True, slots=True)
class Programme:
    """The global record, ready for use: `directives` by model, each also as it is for an exempt organization."""

    record: fill.Programme
    usual: Choice
    beside: Beside | None
    jurisdictions: facts.Jurisdictions
    directives: Mapping[str, tuple[tuple[facts.Directive, facts.Directive, frozenset[str]], ...]]

    def part(self, request: Request, organization: "Organization | None", skew: timedelta) -> facts.Programme:
        """What of it concerns a request."""
        record = self.record
        identifier = organization.record.id if organization else ""
        return facts.Programme(
            record.reviewed_at,
            skew,
            bool(record.stopped) and self._is_stopped(request.asked_model, organization),
            tuple(
                exempted if identifier in exempt else directive
                for directive, exempted, exempt in self.directives.get(request.asked_model, ())
            ),
            record.affiliates_rule,
        )

    def choice(self, organization: "Organization | None", person: fill.Person | None, now: datetime) -> Choice:
        """By which policy it is decided."""
        if self.beside is None:
            return self.usual
        return self.beside.choice(
            organization.record.id if organization else None, person.record.id if person else None, now
        )

    def _is_stopped(self, model: str, organization: "Organization | None") -> bool:
        concerned = {EVERYTHING, model, self.record.models.get(model)}
        if organization is not None:
            concerned |= organization.held.get(model, NOTHING).authorities
        return not self.record.stopped.isdisjoint(concerned)


@dataclass(frozen=True, slots=True)
class Held:
    """An organization's grants for a model, whose they are, and what they name."""

    grants: tuple[facts.Grant, ...] = ()
    authorities: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, found: Sequence[fill.GrantFor]) -> "Held":
        grants = tuple(each.grant for each in found)
        return cls(
            grants,
            frozenset(each.authority for each in found),
            frozenset[str]().union(*(grant.capabilities for grant in grants)),
            frozenset[str]().union(*(grant.purposes for grant in grants)),
        )


NOTHING = Held()


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization with what it holds, by model, and its break-glasses."""

    record: facts.Organization
    held: Mapping[str, Held]
    break_glasses: Mapping[str, facts.BreakGlass]

    @classmethod
    def of(cls, found: fill.Organization) -> "Organization":
        models = {each.model for each in found.grants}
        glasses = {name: each.break_glass for each in found.break_glasses for name in (each.id, each.name)}
        held = {model: Held.of([each for each in found.grants if each.model == model]) for model in models}
        return cls(found.record, held, glasses)


@dataclass(frozen=True, slots=True)
class Presenter:
    """What is on record for an API key or a token, and the keys that a decision for its holder rests on."""

    stored: Stored
    keys: frozenset[str]


class _Absent(LookupError):
    """Nothing is known of a key: not even that there is nothing."""


class Cache:
    """Records of one noun by key, at most so many; the longest unused leave first. None: not on record."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: OrderedDict[str, Any] = OrderedDict()
        self.pop = self._records.pop
        self.clear = self._records.clear

    def __getitem__(self, key: str) -> Any:
        try:
            found = self._records[key]
        except KeyError:
            raise _Absent from None
        self._records.move_to_end(key)
        return found

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)

    def put(self, key: str, record: Any) -> tuple[str, Any] | None:
        """What had to leave for it, if anything."""
        self._records[key] = record
        return self._records.popitem(last=False) if len(self._records) > self._most else None


ALWAYS = frozenset({GLOBAL, EVERYTHING})
NOUNS = (
    GLOBAL, "key", "organization", "organization-name", "person", "person-name", "agent", "agent-name", "endpoint",
    "endpoint-name",
)  # fmt: skip


class Pip:
    """Composes what a request depends on from memory, and reads what is missing."""

    def __init__(self, known: Known, library: Library, wall_clock: Callable[[], datetime], most: int = MOST) -> None:
        self.known = known
        self.library = library
        self._wall_clock = wall_clock
        self._caches = {noun: Cache(most) for noun in NOUNS}
        # A record that shows something of another key's is found by that key too.
        self._resting: dict[str, set[str]] = {}
        known.drop = self._drop

    @property
    def has_rollout(self) -> bool:
        cache = self._caches[GLOBAL]
        return GLOBAL in cache and cache[GLOBAL].beside is not None

    async def load(self, connect: Callable[[], Any], key_id: str | None, requests: Sequence[Request]) -> list[Loaded]:
        """What is on record for each request, all of one snapshot. Raises what asyncpg raises, and `NotDecided`."""
        unknown: Collection[str] = ()
        for _ in range(TRIES):
            composed = [self.compose(key_id, request, unknown) for request in requests]
            loaded = [each for each in composed if each is not None]
            if len(loaded) == len(requests):
                return loaded
            missing = [request for request, found in zip(requests, composed, strict=True) if found is None]
            async with connect() as connection:
                unknown = await self.read(connection, [key_id] if key_id else [], missing)
        raise NotDecided("the records kept changing while they were read")

    def compose(self, key_id: str | None, request: Request, unknown: Collection[str] = ()) -> Loaded | None:
        """The same from memory alone; None if something is missing. `unknown`: keys that were looked up just now."""
        keys = set(ALWAYS)
        try:
            stored = self._caller(key_id, keys, unknown)
            programme: Programme = self._caches[GLOBAL][GLOBAL]
            subject_id, agent, person, organization = self._subject(request, stored, keys)
            endpoint_id, endpoint = self._endpoint(request, organization, keys)
        except _Absent:
            return None
        now, skew = self._time()
        choice = programme.choice(organization, person, now)
        held = organization.held.get(request.asked_model, NOTHING) if organization else NOTHING
        glass = organization.break_glasses.get(request.break_glass) if organization and request.break_glass else None
        return Loaded(
            seen=self.known.seen,
            now=now,
            keys=frozenset(keys),
            stored_key=stored,
            records=facts.Records(
                programme=programme.part(request, organization, skew),
                organization=organization.record if organization else None,
                person=person.record if person else None,
                agent=agent.record if agent else None,
                grants=held.grants,
                endpoint=endpoint.record if endpoint else None,
                break_glass=glass,
                jurisdictions=programme.jurisdictions,
                thresholds=choice.policy.thresholds,
            ),
            choice=choice,
            data_set=programme.record.data_set or "",
            subject_id=subject_id,
            organization_id=organization.record.id if organization else None,
            endpoint_id=endpoint_id,
            model_known=request.asked_model in programme.record.models,
            capabilities=held.capabilities,
            purposes=held.purposes,
        )

    def _time(self) -> tuple[datetime, timedelta]:
        """Now, and how far the database's clock is outside of the time in which it was read by this process's."""
        earliest, latest = self.known.now()
        wall = self._wall_clock()
        return earliest, max(wall - latest, earliest - wall, NONE)

    async def read(self, connection: Connection, key_ids: Sequence[str], requests: Sequence[Request]) -> list[str]:
        """Read all that the requests depend on, in one statement. Of the ids of keys those that nobody has."""
        new_keys = [each for each in key_ids if revision.key("key", each) not in self._caches["key"]]
        wanted = Wanted.by(new_keys, requests, programme=GLOBAL not in self._caches[GLOBAL])
        sent = self.known.sends()
        rows = await connection.fetch(READ, *self.known.asks(), *wanted.values())
        if not rows:
            raise NotDecided(MISSING)
        seen = self.known.hear(sent, rows[0])
        if seen is None:
            return []
        found = {row["key"]: row["value"] for row in rows if row["key"]}
        await self._keep(connection, seen, wanted, found)
        return [each for each in new_keys if revision.key("key", each) not in found]

    async def refresh(self, connection: Connection) -> None:
        """Hear of what was touched since: what is composed then is of a snapshot taken after this call."""
        sent = self.known.sends()
        row = await connection.fetchrow(revision.HEAR, *self.known.asks())
        if row is None:
            raise NotDecided(MISSING)
        self.known.hear(sent, row)

    async def _keep(self, connection: Connection, seen: Seen, wanted: Wanted, rows: Mapping[str, str]) -> None:
        """Put what was read where it is found, unless it was touched meanwhile."""
        found = {key: self._parsed(key, value) for key, value in rows.items()}
        if GLOBAL in found:
            found[GLOBAL] = await self._ready(connection, found[GLOBAL])
        for key, record in list(found.items()):
            noun = key.partition(":")[0]
            if noun in {"person", "agent", "endpoint"}:
                found[revision.name_key(noun, record.organization, record.name)] = key.partition(":")[2]
        for key, record in (found | wanted.absent(found)).items():
            if self.known.stands(seen, {key, *_rests(key, record)}):
                self._put(key, record)

    def _parsed(self, key: str, value: str) -> Any:
        noun = key.partition(":")[0]
        if noun == "key":
            stored = STORED.validate_json(value)
            assert stored is not None  # the statement gives no row for a key that nobody has
            return Presenter(stored, frozenset(_of_stored(key, stored)))
        if noun != GLOBAL and key in self._caches[noun]:
            return self._caches[noun][key]
        if noun == "organization-name":
            return value.strip('"')
        record = SHAPES[noun].validate_json(value)
        return Organization.of(record) if noun == "organization" else record

    async def _ready(self, connection: Connection, record: fill.Programme) -> Programme:
        directives: dict[str, list[tuple[facts.Directive, facts.Directive, frozenset[str]]]] = {}
        for each in record.directives:
            forms = (each.directive, replace(each.directive, exempt=True), each.exempt)
            directives.setdefault(each.model, []).append(forms)
        policy, rollout = await self.library.policy(connection, record.policy_sha256), record.rollout
        beside = None
        if rollout is not None:
            new = await self.library.policy(connection, rollout.policy_sha256)
            beside = Beside.of(rollout, new, policy, record.policy_revision or 0)
        return Programme(
            record,
            Choice(policy, record.policy_revision or 0),
            beside,
            await self.library.jurisdictions(connection, record.data_set),
            {model: tuple(forms) for model, forms in directives.items()},
        )

    def _put(self, key: str, record: Any) -> None:
        for each in _rests(key, record):
            self._resting.setdefault(each, set()).add(key)
        gone = self._caches[key.partition(":")[0]].put(key, record)
        if gone is not None:
            self._unrest(*gone)

    def _unrest(self, key: str, record: Any) -> None:
        for each in _rests(key, record):
            resting = self._resting.get(each, set())
            resting.discard(key)
            if not resting:
                self._resting.pop(each, None)

    def _drop(self, key: str) -> None:
        if key == EVERYTHING:
            for cache in self._caches.values():
                cache.clear()
            self._resting.clear()
            return
        for each in (key, *self._resting.pop(key, ())):
            noun = each.partition(":")[0]
            if noun in self._caches and each in self._caches[noun]:
                self._unrest(each, self._caches[noun].pop(each))

    # --- from memory ---

    def _caller(self, key_id: str | None, keys: set[str], unknown: Collection[str]) -> Stored | None:
        if key_id is None or key_id in unknown:
            return None
        presenter: Presenter = self._caches["key"][revision.key("key", key_id)]
        keys |= presenter.keys
        return presenter.stored

    def _subject(
        self, request: Request, stored: Stored | None, keys: set[str]
    ) -> tuple[str | None, fill.Agent | None, fill.Person | None, Organization | None]:
        """Whom the request is about: the id, the agent if one asks, the person behind it, and their organization."""
        agent, identifier = None, None
        if request.by_agent:
            identifier = self._identify("agent", request.subject_id, keys)
            agent = self._record("agent", identifier, keys)
            if agent is None or not _may_ask(stored, request, agent.organization):
                return None, None, None, None
            person = self._record("person", agent.sponsor, keys)
        elif request.subject_type == "person":
            identifier = self._identify("person", request.subject_id, keys)
            person = self._record("person", identifier, keys)
        else:
            return None, None, None, None
        if person is None or not _may_ask(stored, request, person.organization):
            return None, None, None, None
        return identifier, agent, person, self._record("organization", person.organization, keys)

    def _endpoint(
        self, request: Request, organization: Organization | None, keys: set[str]
    ) -> tuple[str | None, fill.Endpoint | None]:
        if not request.endpoint:
            return None, None
        identifier = None
        if organization is not None and "/" not in request.endpoint:
            identifier = self._named("endpoint", organization.record.id, request.endpoint, keys)
        if identifier is None:
            identifier = self._identify("endpoint", request.endpoint, keys)
        endpoint = self._record("endpoint", identifier, keys)
        return (identifier, endpoint) if endpoint else (None, None)

    def _identify(self, noun: str, text: str, keys: set[str]) -> str | None:
        named = parse_name(text)
        if named is None:
            return text
        slug, name = named
        home = revision.key("organization-name", slug)
        organization = self._caches["organization-name"][home]
        if organization is None:
            keys.add(home)
            return None
        return self._named(noun, organization, name, keys)

    def _named(self, noun: str, organization: str, name: str, keys: set[str]) -> str | None:
        """The id behind a name. One that is on record stays: then only a name that is not is a key."""
        key = revision.name_key(noun, organization, name)
        identifier: str | None = self._caches[f"{noun}-name"][key]
        if identifier is None:
            keys.add(key)
        return identifier

    def _record(self, noun: str, identifier: str | None, keys: set[str]) -> Any:
        if identifier is None:
            return None
        key = revision.key(noun, identifier)
        keys.add(key)
        return self._caches[noun][key]


NONE = timedelta()


def _rests(key: str, record: Any) -> Collection[str]:
    """The keys besides its own that a record rests on: the kind of a grant's authority stands with the grant."""
    if isinstance(record, Presenter):
        return {GLOBAL, *record.keys} - {key}
    return (GLOBAL,) if isinstance(record, Organization) else ()


def _of_stored(key: str, stored: Stored) -> Iterator[str]:
    caller = stored.caller
    if stored.hash:  # what a token claims is no record: nothing touches it
        yield key
    yield revision.key("caller", caller.id)
    if caller.person_id is not None:
        yield revision.key("person", caller.person_id)
    if caller.organization_id is not None:
        yield revision.key("organization", caller.organization_id)


def _may_ask(stored: Stored | None, request: Request, organization: str) -> bool:
    """What its caller may not ask about is not on record for it."""
    if stored is None:
        return True
    caller = stored.caller
    return (caller.models is None or request.asked_model in caller.models) and (
        caller.organizations is None or organization in caller.organizations
    )
