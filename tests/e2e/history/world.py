"""The programme of a history: whom is asked about, and every kind of change, as levers on the rows of the table."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy import text

from mythos_gate.authn import api_keys
from mythos_gate.decision.policy import FILES
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.e2e.history.checker import Rows
from tests.e2e.history.office import Office, Times
from tests.service import POLICIES, PROGRAMME, Service, question

SOON = timedelta(seconds=1.5)  # until what is to expire does
NOTHING: Rows = frozenset()
PEOPLE = PROGRAMME["people"].splitlines()[0] + "\n"
GRANTS = PROGRAMME["grants"].splitlines()[0] + "\n"
AGENTS = PROGRAMME["agents"].splitlines()[0] + "\n"
ENDPOINTS = "organization,external_id,attested\n"
SCREENINGS = "organization,person,status,screened_at\n"
DIRECTIVES = "authority,reference,model,versions,applies_to,from,until\n"
GLASSES = "organization,incident,opened_by,approvers,opened,expires\n"
# What can be seen beside a row, and what not: most facts are of a subject, and of several that apply the first is told.
UNKNOWN = frozenset({"subject-unknown"})
HIDES: Mapping[str, Rows] = {
    "subject-unknown": frozenset({
        "incident-lockdown", "organization-suspended", "ownership-review", "vendor-suspended", "history-abroad",
        "on-no-list", "screening-incomplete",
    }),
    "emergency-stop": frozenset({"incident-lockdown"}),
    "vendor-suspended": frozenset({"vendor-location", "vendor-seat"}),
}  # fmt: skip


def rows(*names: str) -> Rows:
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with whose key, and the levers that the answer rests on."""

    name: str
    body: bytes
    key: str
    levers: tuple[str, ...]
    explained: bool = True  # may be asked by `explain` as well


@dataclass(frozen=True, slots=True)
class Move:
    """A change of some kind that brings levers to where they show `shows`.

    `do` gives when it was sent and acknowledged; or, of what expires by itself, the instant.
    """

    kind: str
    shows: Mapping[str, Rows]
    do: Callable[[], Awaitable[Times | datetime]]


@dataclass(frozen=True, slots=True)
class Episode:
    """Moves one after the other, and the questions that show them. `once`: afterwards nothing is as it was.

    `seat`: two people under a cap of one; the first holds the seat, the second gets it.
    """

    moves: Sequence[Move]
    questions: Sequence[str]
    once: bool = False
    seat: tuple[str, str] | None = None


@dataclass
class World:
    """`copies` organizations alike; `starts` and `questions` as the checker takes them."""

    office: Office
    copies: int
    questions: dict[str, Question] = field(default_factory=dict)
    starts: dict[str, Rows] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def service(self) -> Service:
        return self.office.service

    @classmethod
    async def made(cls, office: Office, copies: int) -> "World":
        """Loaded, with every question that will be asked."""
        world = cls(office, copies)
        await world._load()
        await world._activate_both()
        await world._ask()
        return world

    # --- who is there -----------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        names = range(self.copies)
        organizations = [f"{kind}{each}" for each in names for kind in ("h", "x", "r", "s")]
        staff = [(f"h{each}", person) for each in names for person in STAFF]
        staff += [(f"{kind}{each}", "a") for each in names for kind in ("x", "r", "s")] + [
            (f"s{each}", "b") for each in names
        ]
        await self.service.load(
            authorities=PROGRAMME["authorities"],
            models=PROGRAMME["models"],
            organizations="organization,name,status,incorporated_in,parent_country\n"
            + "".join(f"{name},{name},active,US,US\n" for name in organizations),
            people=PEOPLE + "".join(person(*each) for each in staff),
            grants=GRANTS
            + "".join(
                grant(name, authority, seat_cap="1" if name.startswith("s") and authority == "orrery" else "")
                for name in organizations
                for authority in ("orrery", "export-office")
            ),
            agents=AGENTS
            + "".join(agent(f"h{each}", *named) for each in names for named in (("bot", "us"), ("crawler", "abroad"))),
            endpoints=ENDPOINTS
            + "".join(f"{name},e,yes\n" for name in organizations)
            + "".join(f"h{each},{name},yes\n" for each in names for name in ("old", "kiosk")),
            screenings=SCREENINGS
            + "".join(f"{name},,clear,now-1h\n" for name in organizations)
            + "".join(f"{organization},{name},clear,now-1h\n" for organization, name in staff),
        )
        for each in names:
            await self.office.done(f"people/h{each}/gone/suspend")
        await self.service.load(
            people=PEOPLE + "".join(person(f"h{each}", "lapsed", training="now-1d") for each in names)
        )
        self._grants: dict[str, str] = dict(
            self.service.sql(
                "SELECT o.slug, g.id FROM grants g JOIN organizations o ON o.id = g.organization_id WHERE g.reference LIKE 'orrery-%%'"
            )
        )

    async def _activate_both(self) -> None:
        """Two revisions of the policy, and two data sets, of which the first is in force."""
        first = {name: (POLICIES / name).read_text() for name in FILES}
        abroad = "history-abroad,64,place,deny,DENY,LOCATION_NOT_COVERED,no,presence=us_abroad|foreign_abroad\n"
        self._policies = (first, first | {"access.csv": first["access.csv"] + abroad})
        numbers = []
        for files in reversed(self._policies):
            await self.service.activate(files)
            [(number,)] = self.service.sql("SELECT policy_revision FROM programme")
            numbers.append(f"revision {number}")
        self._revisions = numbers[1], numbers[0]
        self.starts |= dict.fromkeys(("policy", "policy abroad"), rows(self._revisions[0]))
        data = (POLICIES / "jurisdictions.csv").read_text()
        [(inside,)] = self.service.sql("SELECT data_set_id FROM programme")
        other, _ = await self.office.post(
            "data-sets?version=history", data.replace(",Germany,country,listed,", ",Germany,country,indeterminate,")
        )
        self._data_sets = inside, other.json()["id"]

    async def _key(self, *, person: str | None = None, roles: Sequence[Role] = (Role.COMPLIANCE,)) -> str:
        number = next(self.numbers)
        async with self.service.gate.registry.change("key_created", "test") as change:
            scope = callers.Scope(person=person)
            made = await callers.create_key(change, f"asker {number}", roles, service=person is None, scope=scope)
        return made.text

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        self._asker = await self._key()
        self._keys = {}
        for each in range(self.copies):
            home = f"h{each}"
            for name in ASKED:
                self._about(home, name)
            self._about(home, "us", name=f"{home}/us 5.0", levers=["directive"], version="5.0.0")
            self._about(home, "abroad", name=f"{home}/abroad DE", levers=["policy abroad", "data"], country="DE")
            self._about(home, "us", name=f"{home}/old", levers=[f"endpoint {home}/old"], endpoint="old")
            self._about(home, "us", name=f"{home}/kiosk", levers=[f"endpoint {home}/kiosk"], endpoint="kiosk")
            self._about(home, "bot", kind="agent", levers=[f"agent {home}/bot", f"person {home}/us", f"lock {home}/us"])
            self._about(home, "crawler", kind="agent", levers=[f"sponsor {home}/crawler"])
            for organization in (f"x{each}", f"r{each}"):
                self._about(organization, "a", levers=[f"expiry {organization}"])
            for name in ("a", "b"):
                self._about(f"s{each}", name, levers=[f"seat s{each}/{name}"])
            self.starts[f"seat s{each}/b"] = rows("vendor-seat")
            for owner, confined in (("owner", f"{home}/owner"), ("lost", None), ("demoted", None)):
                self._keys[f"{home}/{owner}"] = key = await self._key(person=confined)
                self._about(
                    home,
                    "us",
                    name=f"{home} by {owner}",
                    levers=[f"key {home}/{owner}"],
                    key=key,
                    explained=owner != "demoted",
                )

    def _about(
        self,
        organization: str,
        who: str,
        *,
        name: str | None = None,
        levers: Sequence[str] = (),
        kind: str = "person",
        endpoint: str = "e",
        key: str | None = None,
        explained: bool = True,
        **asked: Any,
    ) -> str:
        """A question about somebody, and the levers of everything that it rests on."""
        subject = f"{organization}/{who}"
        own = [f"person {subject}", f"lock {subject}"] if kind == "person" else []
        base = [f"{what} {organization}" for what in ("organization", "lock", "screening", "grant")]
        if endpoint == "e":
            base.append(f"lock {organization}/e")
        policy = [] if "policy abroad" in levers else ["policy"]
        all_levers = dict.fromkeys([*SWITCHES, *policy, *base, *own, *levers])
        made = Question(
            name or f"{subject} {kind}",
            orjson.dumps(question(subject, kind=kind, endpoint=endpoint, **asked)),
            key or self._asker,
            tuple(all_levers),
            explained,
        )
        self.questions[made.name] = made
        return made.name

    # --- what changes -----------------------------------------------------------------------------------------------

    def episodes(self, moves: int, rng: random.Random) -> list[Episode]:
        """Every kind of change at least once, and so many in all; what can be done once is done to each copy once."""
        found: list[Episode] = []
        for turn in itertools.count():
            made = [
                episode for make in MAKERS for episode in make(self, turn) if turn < self.copies or not episode.once
            ]
            rng.shuffle(made)
            found += made
            if sum(len(episode.moves) for episode in found) >= moves:
                return found
        raise AssertionError

    def _toggle(
        self,
        lever: str,
        shown: str,
        there: tuple[str, Callable[[], Any]],
        back: tuple[str, Callable[[], Any]],
        *questions: str,
    ) -> Episode:
        return Episode(
            [Move(there[0], {lever: rows(shown)}, there[1]), Move(back[0], {lever: NOTHING}, back[1])], questions
        )

    def _stop(self, lever: str, row: str, kind: str, questions: Sequence[str], **stop: str) -> Episode:
        """Set, and lifted by two."""
        made: list[str] = []

        async def set_() -> Times:
            if stop["scope"] in {"organization", "person", "endpoint"}:
                stop["incident"] = f"I-{next(self.numbers)}"
            reply, first = await self.office.post("stops", stop)
            made[:] = [reply.json()["id"]]
            return first, reply.received

        there = (f"{kind} {stop['scope']}", set_)
        back = (f"{kind} {stop['scope']} lifted", lambda: self.office.confirmed(f"stops/{made[0]}/lift"))
        return self._toggle(lever, row, there, back, *questions)

    def standing(self, turn: int) -> Iterator[Episode]:
        """Suspended and active again."""
        home, done, confirmed = f"h{turn % self.copies}", self.office.done, self.office.confirmed
        us = [f"{home}/us person", f"{home}/bot agent", f"{home}/kiosk"]
        for kind, lever, row, path, questions in (
            ("person", f"person {home}/us", "person-suspended", f"people/{home}/us", us),
            ("agent", f"agent {home}/bot", "agent-unregistered", f"agents/{home}/bot", us[1:2]),
            ("organization", f"organization {home}", "organization-suspended", f"organizations/{home}", us),
            ("grant", f"grant {home}", "vendor-suspended", f"grants/{self._grants[home]}", us),
        ):
            yield self._toggle(
                lever,
                row,
                (f"{kind} suspended", partial(done, f"{path}/suspend")),
                (f"{kind} activated", partial(confirmed, f"{path}/activate")),
                *questions,
            )

    def stops(self, turn: int) -> Iterator[Episode]:
        home = f"h{turn % self.copies}"
        us = [f"{home}/us person", f"{home}/bot agent"]
        yield self._stop(f"lock {home}", "incident-lockdown", "lock", us, scope="organization", target=home)
        yield self._stop(f"lock {home}/us", "incident-lockdown", "lock", us, scope="person", target=f"{home}/us")
        yield self._stop(f"lock {home}/e", "incident-lockdown", "lock", us, scope="endpoint", target=f"{home}/e")
        for scope, target in (
            ("everything", {}),
            ("authority", {"target": "orrery"}),
            ("model", {"target": "mythos-5"}),
        ):
            yield self._stop(scope, "emergency-stop", "kill switch", us, scope=scope, **target)

    def revocations(self, turn: int) -> Iterator[Episode]:
        """For good."""
        home, gone, done = f"h{turn}", f"r{turn}", self.office.done
        if turn >= self.copies:
            return
        for kind, lever, row, path, asked in (
            (
                "person revoked",
                f"person {home}/leaver",
                "employment-ended",
                f"people/{home}/leaver/revoke",
                f"{home}/leaver person",
            ),
            (
                "grant revoked",
                f"expiry {gone}",
                "vendor-revoked",
                f"grants/{self._grants[gone]}/revoke",
                f"{gone}/a person",
            ),
            (
                "endpoint revoked",
                f"endpoint {home}/old",
                "endpoint-unregistered",
                f"endpoints/{home}/old/revoke",
                f"{home}/old",
            ),
            (
                "key revoked",
                f"key {home}/lost",
                "401",
                f"keys/{self._keys[f'{home}/lost'].split('_')[1]}/revoke",
                f"{home} by lost",
            ),
        ):
            yield Episode([Move(kind, {lever: rows(row)}, partial(done, path))], [asked], once=True)

    def screenings(self, turn: int) -> Iterator[Episode]:
        home = f"h{turn % self.copies}"
        for lever, row, named, asked in (
            (f"person {home}/hit", "screening-pending", {"person": "hit"}, f"{home}/hit person"),
            (f"screening {home}", "ownership-review", {}, f"{home}/us person"),
        ):
            kind = "screening of a person" if named else "screening of an organization"
            name = {"organization": home} | named
            hit = {"items": [name | {"status": "pending", "screened_at": self.service.now.isoformat()}]}
            verdict = name | {"status": "false_positive"}
            yield self._toggle(
                lever,
                row,
                (f"{kind}: a hit", partial(self.office.done, "screenings", hit)),
                (f"{kind}: no hit", partial(self.office.confirmed, "screenings/adjudicate", verdict)),
                asked,
            )

    def records(self, turn: int) -> Iterator[Episode]:
        """Changed by import."""
        home, imported = f"h{turn % self.copies}", self.office.imported
        unsigned, signed = (person(home, "signer", signed=word) for word in ("no", "yes"))
        yield self._toggle(
            f"person {home}/signer",
            "agreements-missing",
            ("agreements withdrawn", lambda: imported(people=PEOPLE + unsigned)),
            ("agreements signed", lambda: imported(people=PEOPLE + signed)),
            f"{home}/signer person",
        )
        yield self._toggle(
            f"sponsor {home}/crawler",
            "person-suspended",
            ("sponsor changed", lambda: imported(agents=AGENTS + agent(home, "crawler", "gone"))),
            ("sponsor changed back", lambda: imported(agents=AGENTS + agent(home, "crawler", "abroad"))),
            f"{home}/crawler agent",
        )
        yield self._toggle(
            f"endpoint {home}/kiosk",
            "endpoint-unattested",
            ("endpoint distrusted", lambda: imported(endpoints=f"{ENDPOINTS}{home},kiosk,no\n")),
            ("endpoint attested", lambda: imported(endpoints=f"{ENDPOINTS}{home},kiosk,yes\n")),
            f"{home}/kiosk",
        )

    def newcomers(self, turn: int) -> Iterator[Episode]:
        """Names that were asked about before they were on record."""
        home, name, imported = f"h{turn % self.copies}", f"new{turn}", self.office.imported
        known, screened = f"known {home}/{name}", f"screened {home}/{name}"
        self.starts |= {known: UNKNOWN, screened: rows("screening-incomplete")}
        yield Episode(
            [
                Move("person registered", {known: NOTHING}, lambda: imported(people=PEOPLE + person(home, name))),
                Move(
                    "person screened",
                    {screened: NOTHING},
                    lambda: imported(screenings=f"{SCREENINGS}{home},{name},clear,now-1h\n"),
                ),
            ],
            [self._about(home, name, levers=[known, screened])],
            once=True,
        )
        known = f"known {home}/agent-{name}"
        self.starts |= {known: UNKNOWN}
        yield Episode(
            [
                Move(
                    "agent registered",
                    {known: NOTHING},
                    lambda: imported(agents=AGENTS + agent(home, f"agent-{name}", "abroad")),
                )
            ],
            [self._about(home, f"agent-{name}", kind="agent", levers=[known])],
            once=True,
        )
        endpoint = f"endpoint {home}/{name}"
        self.starts |= {endpoint: rows("endpoint-unregistered")}
        members = {"organization": home, "external_id": name, "attested": True}
        yield Episode(
            [Move("endpoint registered", {endpoint: NOTHING}, lambda: self.office.done("endpoints", members))],
            [self._about(home, "us", name=endpoint, levers=[endpoint], endpoint=name)],
            once=True,
        )
        yield self._new_organization(turn)

    def _new_organization(self, turn: int) -> Episode:
        name, imported = f"n{turn}", self.office.imported
        known, listed = f"known {name}/a", f"listed {name}"
        self.starts |= {known: UNKNOWN, listed: rows("on-no-list")}
        record = f"organization,name,status,incorporated_in,parent_country\n{name},{name},active,US,US\n"
        return Episode(
            [
                Move("organization registered", {}, lambda: imported(organizations=record)),
                Move("first person registered", {known: NOTHING}, lambda: imported(people=PEOPLE + person(name, "a"))),
            ],
            [self._about(name, "a", levers=[known, listed])],
            once=True,
        )

    def break_glasses(self, turn: int) -> Iterator[Episode]:
        """Opened by one, approved by two; closed, or over by itself. The person has not been trained."""
        home = f"h{turn % self.copies}"
        for end in ("closed", "expires"):
            incident = f"INC-{next(self.numbers)}"
            lever = f"glass {home}/{incident}"
            self.starts[lever] = rows("break-glass-invalid")
            asked = self._about(home, "lapsed", name=lever, levers=[lever], break_glass=f"{home}/{incident}")
            opened, closed = self._break_glass(home, incident)
            if end == "expires":
                opened, closed = self._short_break_glass(home, incident)
            moves = [
                Move("break-glass opened", {lever: NOTHING}, opened),
                Move(f"break-glass {end}", {lever: rows("break-glass-invalid")}, closed),
            ]
            yield Episode(moves, [asked], once=True)

    def _break_glass(self, home: str, incident: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
        made: list[str] = []

        async def opened() -> Times:
            reply, _ = await self.office.post(
                "break-glass", {"organization": home, "incident": incident, "model": "mythos-5", "hours": 1}
            )
            made.append(reply.json()["id"])
            await self.office.post(f"break-glass/{made[0]}/approve", officer=1)
            reply, first = await self.office.post(f"break-glass/{made[0]}/approve", officer=2)
            return first, reply.received

        return opened, lambda: self.office.done(f"break-glass/{made[0]}/close")

    def _short_break_glass(self, home: str, incident: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
        ends: list[datetime] = []

        async def opened() -> Times:
            ends.append(soon())
            line = f"{home},{incident},x1,x2;x3,now-1h,{ends[0].isoformat()}\n"
            return await self.office.imported(break_glass=GLASSES + line)

        async def over() -> datetime:
            return ends[0]

        return opened, over

    def expiries(self, turn: int) -> Iterator[Episode]:
        """What ends by itself, and is renewed."""
        home, x = f"h{turn % self.copies}", f"x{turn % self.copies}"
        for what, lever, row, file, header, line, asked in (
            ("training", f"person {home}/trainee", "training-expired", "people", PEOPLE,
             lambda end: person(home, "trainee", training=end), f"{home}/trainee person"),
            ("grant", f"expiry {x}", "vendor-expired", "grants", GRANTS,
             lambda end: grant(x, "orrery", not_after=end), f"{x}/a person"),
        ):  # fmt: skip

            async def expire(file: str = file, header: str = header, line: Any = line) -> datetime:
                end = soon()
                await self.office.imported(**{file: header + line(end.isoformat())})
                return end

            def renew(file: str = file, header: str = header, line: Any = line) -> Awaitable[Times]:
                return self.office.imported(**{file: header + line("now+90d")})

            yield self._toggle(lever, row, (f"{what} expires", expire), (f"{what} renewed", renew), asked)

    def keys(self, turn: int) -> Iterator[Episode]:
        """Whose key it is, what it may, and one that is known before it is made."""
        home, done, confirmed = f"h{turn % self.copies}", self.office.done, self.office.confirmed
        owner, lever = f"person {home}/owner", f"key {home}/owner"
        yield Episode(
            [
                Move(
                    "owner of a key suspended",
                    {owner: rows("person-suspended"), lever: rows("401")},
                    lambda: done(f"people/{home}/owner/suspend"),
                ),
                Move(
                    "owner of a key activated",
                    {owner: NOTHING, lever: NOTHING},
                    lambda: confirmed(f"people/{home}/owner/activate"),
                ),
            ],
            [f"{home} by owner", f"{home}/owner person"],
        )
        demoted = self._keys[f"{home}/demoted"].split("_")[1]
        yield self._toggle(
            f"key {home}/demoted",
            "403",
            ("role ended", lambda: self.office.operated(lambda: self._set_roles(demoted, "{operator}"))),
            ("role given", lambda: self.office.operated(lambda: self._set_roles(demoted, "{compliance}"))),
            f"{home} by demoted",
        )
        yield self._new_key(home)

    def _new_key(self, home: str) -> Episode:
        name, (key, presented), ends = f"new key {next(self.numbers)}", api_keys.create(), []
        lever = f"key {home}/{name}"
        self.starts[lever] = rows("401")

        async def made() -> Times:
            ends.append(soon())
            return await self.office.operated(lambda: self._insert_key(presented, ends[0]))

        async def over() -> datetime:
            return ends[0]

        moves = [Move("key created", {lever: NOTHING}, made), Move("key expires", {lever: rows("401")}, over)]
        return Episode(moves, [self._about(home, "us", name=f"{home} by {name}", levers=[lever], key=key)], once=True)

    async def _set_roles(self, key: str, roles: str) -> None:
        async with self.service.gate.registry.change("touched", "test") as change:
            query = "UPDATE callers SET roles = CAST(:roles AS text[]) WHERE id = (SELECT caller_id FROM api_keys WHERE id = :key)"
            await change.connection.execute(text(query), {"roles": roles, "key": key})

    async def _insert_key(self, presented: api_keys.Presented, expires: datetime) -> None:
        async with self.service.gate.registry.change("key_created", "test") as change:
            query = (
                "INSERT INTO api_keys (id, caller_id, hash, expires_at)"
                " SELECT :id, caller_id, :hash, :expires FROM api_keys WHERE id = :like ON CONFLICT DO NOTHING"
            )
            values = {"id": presented.id, "hash": presented.hash, "expires": expires, "like": self._asker.split("_")[1]}
            await change.connection.execute(text(query), values)

    def programme(self, turn: int) -> Iterator[Episode]:
        """Policy, data set, directive."""
        home = f"h{turn % self.copies}"
        abroad, us = f"{home}/abroad DE", f"{home}/us person"
        yield Episode([self._activation(1, "history-abroad"), self._activation(0)], [abroad, us])
        shown = rows("location-unverified", "vendor-location", "government-location")
        yield Episode(
            [
                Move("data set activated", {"data": shown}, lambda: self._activate_data_set(1)),
                Move("former data set activated", {"data": NOTHING}, lambda: self._activate_data_set(0)),
            ],
            [abroad],
        )
        reference = f"D-{next(self.numbers)}"
        directive = {
            "authority": "export-office", "reference": reference, "model": "mythos-5", "versions": ["5.0"],
            "applies_to": "all", "from": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        over = f"{DIRECTIVES}export-office,{reference},mythos-5,5.0,all,2026-01-01T00:00:00Z,now-1h\n"
        yield self._toggle(
            "directive",
            "directive",
            ("directive issued", lambda: self.office.done("directives", directive)),
            ("directive over", lambda: self.office.imported(directives=over)),
            f"{home}/us 5.0",
        )

    def _activation(self, which: int, *abroad: str) -> Move:
        """Of a policy. Abroad one answer shows both its number and what it says."""
        revision, kind = self._revisions[which], ("former policy activated", "policy activated")[which]
        shows = {"policy": rows(revision), "policy abroad": rows(revision, *abroad)}
        return Move(kind, shows, lambda: self.office.operated(lambda: self.service.activate(self._policies[which])))

    def _activate_data_set(self, which: int) -> Awaitable[Times]:
        reviewed = self.service.now - timedelta(hours=1)
        return self.office.confirmed(
            f"data-sets/{self._data_sets[which]}/activate", {"reviewed_at": reviewed.isoformat()}
        )

    def seats(self, turn: int) -> Iterator[Episode]:
        home, holder = f"s{turn % self.copies}", "ab"[turn // self.copies % 2]
        other = "ba"["ab".index(holder)]
        move = Move(
            "seats released",
            {f"seat {home}/{other}": NOTHING},
            lambda: self.office.done(f"people/{home}/{holder}/release-seats"),
        )
        yield Episode([move], [f"{home}/{other} person"], seat=(f"{home}/{holder} person", f"{home}/{other} person"))


ASKED = ("us", "abroad", "leaver", "hit", "signer", "trainee", "owner")
STAFF = (*ASKED, "gone", "lapsed")
SWITCHES = ("everything", "authority", "model")
MAKERS = (
    World.standing, World.stops, World.revocations, World.screenings, World.records, World.newcomers,
    World.break_glasses, World.expiries, World.keys, World.programme, World.seats,
)  # fmt: skip


def soon() -> datetime:
    return datetime.now(UTC) + SOON


def person(organization: str, name: str, *, training: str = "now+90d", signed: str = "yes") -> str:
    return f"{organization},{name},employee,yes,citizen,,,{training},{signed},yes,a1;a2,r1,now+90d\n"


def agent(organization: str, name: str, sponsor: str) -> str:
    return f"{organization},{name},{sponsor},active,vuln-discovery,now+1d,US,1\n"


def grant(organization: str, authority: str, *, not_after: str = "now+90d", seat_cap: str = "") -> str:
    return (
        f"{authority},{authority}-{organization},{organization},mythos-5,active,now-90d,{not_after},5.0;5.1,vuln-discovery,"
        f"defensive-own-systems,all_except,E:1;E:2;D:5;MO,ear_most_recent,US;DE,yes,yes,{seat_cap}\n"
    )
