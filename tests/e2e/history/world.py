"""The programme of a history: who is on record, and what is asked about them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mythos_gate.decision.policy import FILES
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.e2e.history.checker import Rows
from tests.e2e.history.office import Office
from tests.service import POLICIES, PROGRAMME, Service, question

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
        self.grants: dict[str, str] = dict(
            self.service.sql(
                "SELECT o.slug, g.id FROM grants g JOIN organizations o ON o.id = g.organization_id WHERE g.reference LIKE 'orrery-%%'"
            )
        )

    async def _activate_both(self) -> None:
        """Two revisions of the policy, and two data sets, of which the first is in force."""
        first = {name: (POLICIES / name).read_text() for name in FILES}
        abroad = "history-abroad,64,place,deny,DENY,LOCATION_NOT_COVERED,no,presence=us_abroad|foreign_abroad\n"
        self.policies = (first, first | {"access.csv": first["access.csv"] + abroad})
        numbers = []
        for files in reversed(self.policies):
            await self.service.activate(files)
            [(number,)] = self.service.sql("SELECT policy_revision FROM programme")
            numbers.append(f"revision {number}")
        self.revisions = numbers[1], numbers[0]
        self.starts |= dict.fromkeys(("policy", "policy abroad"), rows(self.revisions[0]))
        data = (POLICIES / "jurisdictions.csv").read_text()
        [(inside,)] = self.service.sql("SELECT data_set_id FROM programme")
        other, _ = await self.office.post(
            "data-sets?version=history", data.replace(",Germany,country,listed,", ",Germany,country,indeterminate,")
        )
        self.data_sets = inside, other.json()["id"]

    async def _key(self, *, person: str | None = None, roles: Sequence[Role] = (Role.COMPLIANCE,)) -> str:
        number = next(self.numbers)
        async with self.service.gate.registry.change("key_created", "test") as change:
            scope = callers.Scope(person=person)
            made = await callers.create_key(change, f"asker {number}", roles, service=person is None, scope=scope)
        return made.text

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        self.asker = await self._key()
        self.keys = {}
        for each in range(self.copies):
            home = f"h{each}"
            for name in ASKED:
                self.about(home, name)
            self.about(home, "us", name=f"{home}/us 5.0", levers=["directive"], version="5.0.0")
            self.about(home, "abroad", name=f"{home}/abroad DE", levers=["policy abroad", "data"], country="DE")
            self.about(home, "us", name=f"{home}/old", levers=[f"endpoint {home}/old"], endpoint="old")
            self.about(home, "us", name=f"{home}/kiosk", levers=[f"endpoint {home}/kiosk"], endpoint="kiosk")
            self.about(home, "bot", kind="agent", levers=[f"agent {home}/bot", f"person {home}/us", f"lock {home}/us"])
            self.about(home, "crawler", kind="agent", levers=[f"sponsor {home}/crawler"])
            for organization in (f"x{each}", f"r{each}"):
                self.about(organization, "a", levers=[f"expiry {organization}"])
            for name in ("a", "b"):
                self.about(f"s{each}", name, levers=[f"seat s{each}/{name}"])
            self.starts[f"seat s{each}/b"] = rows("vendor-seat")
            for owner, confined in (("owner", f"{home}/owner"), ("lost", None), ("demoted", None)):
                self.keys[f"{home}/{owner}"] = key = await self._key(person=confined)
                self.about(
                    home,
                    "us",
                    name=f"{home} by {owner}",
                    levers=[f"key {home}/{owner}"],
                    key=key,
                    explained=owner != "demoted",
                )

    def about(
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
            key or self.asker,
            tuple(all_levers),
            explained,
        )
        self.questions[made.name] = made
        return made.name


ASKED = ("us", "abroad", "leaver", "hit", "signer", "trainee", "owner")
STAFF = (*ASKED, "gone", "lapsed")
SWITCHES = ("everything", "authority", "model")


def person(organization: str, name: str, *, training: str = "now+90d", signed: str = "yes") -> str:
    return f"{organization},{name},employee,yes,citizen,,,{training},{signed},yes,a1;a2,r1,now+90d\n"


def agent(organization: str, name: str, sponsor: str) -> str:
    return f"{organization},{name},{sponsor},active,vuln-discovery,now+1d,US,1\n"


def grant(organization: str, authority: str, *, not_after: str = "now+90d", seat_cap: str = "") -> str:
    return (
        f"{authority},{authority}-{organization},{organization},mythos-5,active,now-90d,{not_after},5.0;5.1,vuln-discovery,"
        f"defensive-own-systems,all_except,E:1;E:2;D:5;MO,ear_most_recent,US;DE,yes,yes,{seat_cap}\n"
    )
