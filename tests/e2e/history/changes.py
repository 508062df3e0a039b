"""Every kind of change, as levers on the rows of the table."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import text

from mythos_gate.authn import api_keys
from mythos_gate.registry.policy_reports import Draft
from mythos_gate.terms import ReportKind
from tests.e2e.history.checker import Rows
from tests.e2e.history.office import Office, Times
from tests.e2e.history.world import (
    AGENTS,
    DIRECTIVES,
    ENDPOINTS,
    GLASSES,
    GRANTS,
    NOTHING,
    PEOPLE,
    SCREENINGS,
    UNKNOWN,
    World,
    agent,
    grant,
    person,
    rows,
)  # fmt: skip

SOON = timedelta(seconds=2.5)  # until what is to expire does


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


class Changes:
    """What officers do to a programme, `turn` after turn: each to another of its organizations."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def office(self) -> Office:
        return self.world.office

    def episodes(self, moves: int, rng: random.Random) -> list[Episode]:
        """Every kind of change at least once, and so many in all; what can be done once is done to each copy once."""
        found: list[Episode] = []
        for turn in itertools.count():
            made = [
                episode
                for make in MAKERS
                for episode in make(self, turn)
                if turn < self.world.copies or not episode.once
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
                stop["incident"] = f"I-{next(self.world.numbers)}"
            reply, first = await self.office.post("stops", stop)
            made[:] = [reply.json()["id"]]
            return first, reply.received

        there = (f"{kind} {stop['scope']}", set_)
        back = (f"{kind} {stop['scope']} lifted", lambda: self.office.confirmed(f"stops/{made[0]}/lift"))
        return self._toggle(lever, row, there, back, *questions)

    def standing(self, turn: int) -> Iterator[Episode]:
        """Suspended and active again."""
        home, done, confirmed = f"h{turn % self.world.copies}", self.office.done, self.office.confirmed
        us = [f"{home}/us person", f"{home}/bot agent", f"{home}/kiosk"]
        for kind, lever, row, path, questions in (
            ("person", f"person {home}/us", "person-suspended", f"people/{home}/us", us),
            ("agent", f"agent {home}/bot", "agent-unregistered", f"agents/{home}/bot", us[1:2]),
            ("organization", f"organization {home}", "organization-suspended", f"organizations/{home}", us),
            ("grant", f"grant {home}", "vendor-suspended", f"grants/{self.world.grants[home]}", us),
        ):
            yield self._toggle(
                lever,
                row,
                (f"{kind} suspended", partial(done, f"{path}/suspend")),
                (f"{kind} activated", partial(confirmed, f"{path}/activate")),
                *questions,
            )

    def stops(self, turn: int) -> Iterator[Episode]:
        home = f"h{turn % self.world.copies}"
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
        if turn >= self.world.copies:
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
                f"grants/{self.world.grants[gone]}/revoke",
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
                f"keys/{self.world.keys[f'{home}/lost'].split('_')[1]}/revoke",
                f"{home} by lost",
            ),
        ):
            yield Episode([Move(kind, {lever: rows(row)}, partial(done, path))], [asked], once=True)

    def screenings(self, turn: int) -> Iterator[Episode]:
        home = f"h{turn % self.world.copies}"
        for lever, row, named, asked in (
            (f"person {home}/hit", "screening-pending", {"person": "hit"}, f"{home}/hit person"),
            (f"screening {home}", "ownership-review", {}, f"{home}/us person"),
        ):
            kind = "screening of a person" if named else "screening of an organization"
            name = {"organization": home} | named
            hit = {"items": [name | {"status": "pending", "screened_at": self.world.service.now.isoformat()}]}
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
        home, imported = f"h{turn % self.world.copies}", self.office.imported
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
        home, name, imported = f"h{turn % self.world.copies}", f"new{turn}", self.office.imported
        known, screened = f"known {home}/{name}", f"screened {home}/{name}"
        self.world.starts |= {known: UNKNOWN, screened: rows("screening-incomplete")}
        yield Episode(
            [
                Move("person registered", {known: NOTHING}, lambda: imported(people=PEOPLE + person(home, name))),
                Move(
                    "person screened",
                    {screened: NOTHING},
                    lambda: imported(screenings=f"{SCREENINGS}{home},{name},clear,now-1h\n"),
                ),
            ],
            [self.world.about(home, name, levers=[known, screened])],
            once=True,
        )
        known = f"known {home}/agent-{name}"
        self.world.starts |= {known: UNKNOWN}
        yield Episode(
            [
                Move(
                    "agent registered",
                    {known: NOTHING},
                    lambda: imported(agents=AGENTS + agent(home, f"agent-{name}", "abroad")),
                )
            ],
            [self.world.about(home, f"agent-{name}", kind="agent", levers=[known])],
            once=True,
        )
        endpoint = f"endpoint {home}/{name}"
        self.world.starts |= {endpoint: rows("endpoint-unregistered")}
        members = {"organization": home, "external_id": name, "attested": True}
        yield Episode(
            [Move("endpoint registered", {endpoint: NOTHING}, lambda: self.office.done("endpoints", members))],
            [self.world.about(home, "us", name=endpoint, levers=[endpoint], endpoint=name)],
            once=True,
        )
        yield self._new_organization(turn)

    def _new_organization(self, turn: int) -> Episode:
        name, imported = f"n{turn}", self.office.imported
        known, listed = f"known {name}/a", f"listed {name}"
        self.world.starts |= {known: UNKNOWN, listed: rows("on-no-list")}
        record = f"organization,name,status,incorporated_in,parent_country\n{name},{name},active,US,US\n"
        return Episode(
            [
                Move("organization registered", {}, lambda: imported(organizations=record)),
                Move("first person registered", {known: NOTHING}, lambda: imported(people=PEOPLE + person(name, "a"))),
            ],
            [self.world.about(name, "a", levers=[known, listed])],
            once=True,
        )

    def break_glasses(self, turn: int) -> Iterator[Episode]:
        """Opened by one, approved by two; closed, or over by itself. The person has not been trained."""
        home = f"h{turn % self.world.copies}"
        for end in ("closed", "expires"):
            incident = f"INC-{next(self.world.numbers)}"
            lever = f"glass {home}/{incident}"
            self.world.starts[lever] = rows("break-glass-invalid")
            asked = self.world.about(home, "lapsed", name=lever, levers=[lever], break_glass=f"{home}/{incident}")
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
            request, approval = f"change-requests/{reply.json()['id']}", {"sha256": reply.json()["sha256"]}
            await self.office.post(f"{request}/approve", approval, officer=1)
            reply, first = await self.office.post(f"{request}/approve", approval, officer=2)
            [(identifier,)] = self.world.service.sql("SELECT id FROM break_glasses WHERE incident = %s", incident)
            made.append(identifier)
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
        home, x = f"h{turn % self.world.copies}", f"x{turn % self.world.copies}"
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
        home, done, confirmed = f"h{turn % self.world.copies}", self.office.done, self.office.confirmed
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
        demoted = self.world.keys[f"{home}/demoted"].split("_")[1]
        yield self._toggle(
            f"key {home}/demoted",
            "403",
            ("role ended", lambda: self.office.operated(lambda: self._set_roles(demoted, "{operator}"))),
            ("role given", lambda: self.office.operated(lambda: self._set_roles(demoted, "{compliance}"))),
            f"{home} by demoted",
        )
        yield self._new_key(home)

    def _new_key(self, home: str) -> Episode:
        name, (key, presented), ends = f"new key {next(self.world.numbers)}", api_keys.create(), []
        lever = f"key {home}/{name}"
        self.world.starts[lever] = rows("401")

        async def made() -> Times:
            ends.append(soon())
            return await self.office.operated(lambda: self._insert_key(presented, ends[0]))

        async def over() -> datetime:
            return ends[0]

        moves = [Move("key created", {lever: NOTHING}, made), Move("key expires", {lever: rows("401")}, over)]
        return Episode(
            moves, [self.world.about(home, "us", name=f"{home} by {name}", levers=[lever], key=key)], once=True
        )

    async def _set_roles(self, key: str, roles: str) -> None:
        async with self.world.service.gate.registry.change("touched", "test") as change:
            query = "UPDATE callers SET roles = CAST(:roles AS text[]) WHERE id = (SELECT caller_id FROM api_keys WHERE id = :key)"
            await change.connection.execute(text(query), {"roles": roles, "key": key})

    async def _insert_key(self, presented: api_keys.Presented, expires: datetime) -> None:
        async with self.world.service.gate.registry.change("key_created", "test") as change:
            query = (
                "INSERT INTO api_keys (id, caller_id, hash, expires_at)"
                " SELECT :id, caller_id, :hash, :expires FROM api_keys WHERE id = :like ON CONFLICT DO NOTHING"
            )
            values = {
                "id": presented.id,
                "hash": presented.hash,
                "expires": expires,
                "like": self.world.asker.split("_")[1],
            }
            await change.connection.execute(text(query), values)

    def programme(self, turn: int) -> Iterator[Episode]:
        """Policy, data set, directive."""
        home = f"h{turn % self.world.copies}"
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
        reference = f"D-{next(self.world.numbers)}"
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
        revision, kind = self.world.revisions[which], ("former policy activated", "policy activated")[which]
        shows = {"policy": rows(revision), "policy abroad": rows(revision, *abroad)}
        return Move(
            kind, shows, lambda: self.office.operated(lambda: self.world.service.activate(self.world.policies[which]))
        )

    async def _activate_data_set(self, which: int) -> Times:
        service, data_set = self.world.service, self.world.data_sets[which]
        await service.simulated(Draft(members={"data_set": data_set}), kinds=[ReportKind.IMPACT])
        reviewed = service.now - timedelta(hours=1)
        return await self.office.confirmed(f"data-sets/{data_set}/activate", {"reviewed_at": reviewed.isoformat()})

    def seats(self, turn: int) -> Iterator[Episode]:
        home, holder = f"s{turn % self.world.copies}", "ab"[turn // self.world.copies % 2]
        other = "ba"["ab".index(holder)]
        move = Move(
            "seats released",
            {f"seat {home}/{other}": NOTHING},
            lambda: self.office.done(f"people/{home}/{holder}/release-seats"),
        )
        yield Episode([move], [f"{home}/{other} person"], seat=(f"{home}/{holder} person", f"{home}/{other} person"))


MAKERS = (
    Changes.standing, Changes.stops, Changes.revocations, Changes.screenings, Changes.records, Changes.newcomers,
    Changes.break_glasses, Changes.expiries, Changes.keys, Changes.programme, Changes.seats,
)  # fmt: skip


def soon() -> datetime:
    return datetime.now(UTC) + SOON
