"""The service as a test runs it: the real application over a real database, asked over ASGI."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from fastapi import FastAPI

from mythos_gate import app as application
from mythos_gate import sequencing
from mythos_gate.api.deps import Gate
from mythos_gate.audit import reading, tree
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.entry import canonical, leaf_hash, timestamp, uuid7
from mythos_gate.audit.reading import Filters
from mythos_gate.audit.report import Report, Trust
from mythos_gate.audit.verify import verify
from mythos_gate.decision.pdp import Clock
from mythos_gate.decision.policy import FILES, content_hash
from mythos_gate.registry import callers, drafting, imports, jurisdictions, officers, policies, policy_reports
from mythos_gate.registry.directives import DIRECTIVES
from mythos_gate.registry.kind import Kind
from mythos_gate.registry.policy_reports import Draft, Needs, Standing
from mythos_gate.revision import EVERYTHING
from mythos_gate.settings import Settings, root
from mythos_gate.terms import ReportKind, Role

POLICIES = root() / "policies"
CONFINED = {Role.ORG_ADMIN, Role.SCIM, Role.OFFICER}  # to one organization or authority, which has to be on record
OFFICERS = {Role.COMPLIANCE, Role.OFFICER}
ONE = Needs()
OFFICE = "programme-office"  # where officers are on record: an organization that has no grants
DIGEST_KEY = "0123456789abcdef0123456789abcdef"

PROGRAMME = {
    "authorities": """authority,name,kind,organization_cap
orrery,Orrery Labs,vendor,200
export-office,Export Office,government,
""",
    "models": """model,authority,name,versions,capabilities
mythos-5,orrery,Mythos 5,5.0;5.1,vuln-discovery;patch-validation
""",
    "organizations": """organization,name,status,incorporated_in,parent_country
acme,Acme,active,US,US
other,Other,active,US,US
""",
    "people": """organization,external_id,employment,us_person,us_basis,citizenships,evidence_expires,training_expires,acceptable_use,technology_control_plan,approvals,requested_by,review_due
acme,us,employee,yes,citizen,,,now+90d,yes,yes,a1;a2,r1,now+90d
acme,ca,employee,no,,CA@1991-01-01,now+90d,now+90d,yes,yes,a1;a2,r1,now+90d
""",
    "grants": """authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes,foreign_nationals,excluded_groups,nationality_basis,allowed_countries,contractors,agents,seat_cap
orrery,V-1,acme,mythos-5,active,now-90d,now+90d,5.0;5.1,vuln-discovery,defensive-own-systems,all_except,E:1;E:2;D:5;MO,ear_most_recent,US;DE,yes,yes,50
export-office,G-1,acme,mythos-5,active,now-90d,now+90d,5.0;5.1,vuln-discovery,defensive-own-systems,all_except,E:1;E:2;D:5;MO,ear_most_recent,US;DE,no,yes,40
""",
    "agents": """organization,external_id,sponsor,status,scopes,expires,runtime_country,depth
acme,bot,us,active,vuln-discovery,now+1d,US,1
""",
    "endpoints": """organization,external_id,status,attested
acme,ep-1,active,yes
other,ep-2,active,yes
""",
    "screenings": """organization,person,status,screened_at
acme,,clear,now-1h
other,,clear,now-1h
acme,us,clear,now-1h
acme,ca,clear,now-1h
""",
}


ENTRY = "INSERT INTO log_entries (id, at, type, writer, n, leaf, body) VALUES (%s, %s, %s, %s, %s, %s, %s)"
FIRST = """
WITH late AS (DELETE FROM log_queue WHERE entry_id = ANY (%s::uuid[]) RETURNING *)
INSERT INTO log_queue (id, entry_id, at) OVERRIDING SYSTEM VALUE SELECT id - 1000000, entry_id, at FROM late
"""


@dataclass
class Service:
    app: FastAPI
    client: httpx.AsyncClient
    database: str
    displacement: timedelta
    keys: dict[Role, str] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        database: str,
        state: Path,
        displacement: timedelta = timedelta(),
        skew: timedelta = timedelta(),
        **settings: Any,
    ) -> AsyncIterator["Service"]:
        """`displacement` moves the database's clock and the process's; `skew` the process's alone."""

        def wall() -> datetime:
            return datetime.now(UTC) + displacement + skew

        chosen = Settings(database_url=database, state=state, digest_key=DIGEST_KEY, **settings)
        sequencing.make_keys(chosen)
        app = application.create(chosen, Clock(wall, displacement))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gate") as client,
        ):
            yield cls(app, client, database, displacement)

    @property
    def gate(self) -> Gate:
        gate: Gate = self.app.state.gate
        return gate

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.displacement

    async def prepare(self) -> None:
        """Keys for every role, the baseline policy, reviewed jurisdictions; nobody enrolled."""
        for role in set(Role) - CONFINED:
            async with self.gate.registry.change("key_created", "test") as change:
                self.keys[role] = (await callers.create_key(change, f"test {role}", [role], service=True)).text
        await self.activate({name: (POLICIES / name).read_text() for name in FILES})
        await self.review(self.now - timedelta(days=1))

    async def key(self, role: Role, **scope: Any) -> dict[str, str]:
        """The header of a fresh key that is confined to this scope; an officer's is of somebody on record."""
        async with self.gate.registry.change("key_created", "test") as change:
            if role in OFFICERS and "person" not in scope:
                scope["person"] = await officers.enrol(change, f"{OFFICE}/o-{uuid4()}")
            confined = callers.Scope(**scope)
            made = await callers.create_key(change, f"{role} {uuid4()}", [role], service=False, scope=confined)
        return {"Authorization": f"Bearer {made.text}"}

    async def activate(self, files: Mapping[str, str]) -> None:
        async with self.gate.registry.change("policy_activated", "test") as change:
            await policies.activate(change, content_hash(files), files)

    async def simulated(
        self,
        draft: str | Draft,
        needs: Needs = ONE,
        acknowledge: Sequence[str] = (),
        kinds: Sequence[ReportKind] = (ReportKind.CHECKS, ReportKind.IMPACT),
    ) -> str:
        """The reports that a change asks for, of a policy where a hash is given, as if they had been made: the last's id."""
        about = draft if isinstance(draft, Draft) else Draft(draft)
        async with self.gate.registry.change("policy_reported", "test") as change:
            now = await policies.in_force(change.connection)
            standing = Standing(now["policy_sha256"], now["data_set"])
            for kind in kinds:
                apart = {"acknowledge": list(acknowledge)} if kind == ReportKind.IMPACT else {}
                report = policy_reports.Report(kind, passed=True, figures={}, apart=apart, needs=needs)
                made = await policy_reports.keep(change, about, report, standing)
        return str(made["id"])

    async def simulated_terms(self, kind: Kind, identifier: str, members: Mapping[str, Any]) -> None:
        """The same, of these terms of a grant or a directive."""
        terms = {name: value for name, value in members.items() if name in drafting.TERMS[kind.name]}
        if terms:
            name = "amended" if kind is DIRECTIVES else kind.name
            about = Draft(members={name: {identifier: drafting.terms(kind, terms, self.now)}})
            await self.simulated(about, kinds=[ReportKind.IMPACT])

    async def review(self, reviewed_at: datetime | None) -> None:
        data = (POLICIES / "jurisdictions.csv").read_bytes()
        async with self.gate.registry.change("imported", "test") as change:
            await jurisdictions.load_data_set(change, data, version="test", reviewed_at=reviewed_at)

    async def load(self, **files: str) -> None:
        """Import CSV texts by kind."""
        for kind, text in files.items():
            async with self.gate.registry.change("imported", "test") as change:
                await imports.load(change, kind, text.encode(), now=self.now, relative=True)

    async def load_programme(self) -> None:
        """Two organizations, of which acme is on both lists; us is a US person, ca a Canadian."""
        await self.load(**PROGRAMME)

    def authorization(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[role]}"}

    async def ask(self, question: Any, role: Role = Role.COMPLIANCE, **headers: str) -> httpx.Response:
        return await self.client.post(
            "/access/v1/evaluation", json=question, headers=self.authorization(role) | headers
        )

    async def post(self, path: str, role: Role = Role.COMPLIANCE, json: Any = None) -> httpx.Response:
        return await self.client.post(path, json=json, headers=self.authorization(role))

    async def get(self, path: str, role: Role = Role.AUDITOR) -> httpx.Response:
        return await self.client.get(path, headers=self.authorization(role))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the owner. What changes a record here bypasses its triggers: the service is made to forget it."""
        with psycopg.connect(self.database, autocommit=True) as owner:
            cursor = owner.execute(statement, values)
            if cursor.description:
                return list(cursor.fetchall())
        self.forget()
        return []

    def forget(self) -> None:
        """What the process holds of the records."""
        self.gate.pdp._pip._drop(EVERYTHING)

    def write(self, times: Sequence[datetime]) -> dict[str, bytes]:
        """Entries of these times, first in the queue, as bodies by id: an opening, and others of the same writer."""
        made: dict[str, bytes] = {}
        writer = "pdp-0123456789abcdef"
        common = {"v": 1, "log": self.gate.settings.origin, "writer": writer}
        kinds: Iterator[dict[str, Any]] = chain(
            [{"type": "session_opened", "confirmed": None, "unknown": []}], repeat({"type": "test"})
        )
        prev: str | None = None
        with psycopg.connect(self.database) as owner:
            for month in {at.date().replace(day=1) for at in times}:
                owner.execute("SELECT make_log_partitions(%s, 1)", [month])
            for n, (at, kind) in enumerate(zip(times, kinds, strict=False), 1):
                members = {"id": uuid7(at, secrets.token_bytes(10)), "at": timestamp(at), "n": n, "prev": prev}
                body = canonical(common | kind | members | {"salt": secrets.token_hex(16)})
                owner.execute(ENTRY, (members["id"], at, kind["type"], writer, n, leaf_hash(body), body))
                made[str(members["id"])], prev = body, leaf_hash(body).hex()
            owner.execute(FIRST, (list(made),))
        return made

    async def sequence(self) -> None:
        """Take in what was written, as the process beside the service does each second."""
        made = sequencing.made(self.gate.settings)
        try:
            assert await made.lead()
            await made.step()
        finally:
            await made.close()

    async def exported(self, path: Path, **wanted: Any) -> Bundle:
        """The log as an auditor gets it."""
        answer = await self.post("/v1/log/exports", Role.AUDITOR, wanted)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/zip"
        path.write_bytes(answer.content)
        return Bundle(path)

    @property
    def trust(self) -> Trust:
        """The keys that it signs with, as an auditor has them from elsewhere."""
        assert self.gate.receipts is not None
        signers = sequencing._signers(self.gate.settings).values()
        return Trust([each.verifier for each in signers], [self.gate.receipts.verifier])

    async def entries(self) -> list[dict[str, Any]]:
        """All of the log, in the order of the tree. Read past the route, whose reads are entries themselves."""
        await self.sequence()
        async with self.gate.reader.connect() as connection:
            found = await tree.published(connection)
            size = found[0].size if found else 0
            leaves, _ = await reading.page(connection, 0, size, size, Filters())
        assert len(leaves) == size
        return [
            {"leaf": leaf.leaf.hex(), "stored": leaf.body.decode(), "body": reading.members(leaf.body)}
            for leaf in leaves
        ]


def proven(given: Bundle, trust: Trust) -> Report:
    """What an auditor finds out offline: nothing is wrong."""
    report = verify(given, trust)
    assert [*report.findings, *report.denied] == []
    assert report.exit_code == 0
    return report


def question(
    subject: str = "acme/us",
    *,
    kind: str = "person",
    country: str | None = "US",
    endpoint: str | None = "ep-1",
    version: str = "5.1.0",
    **context: Any,
) -> dict[str, Any]:
    return {
        "subject": {"type": kind, "id": subject},
        "action": {
            "name": "invoke",
            "properties": {"capability": "vuln-discovery", "purpose": "defensive-own-systems"},
        },
        "resource": {"type": "model", "id": "mythos-5", "properties": {"version": version}},
        "context": {
            "location": {"country": country},
            "endpoint": endpoint,
            "session": {"mfa": "phishing_resistant"},
            **context,
        },
    }


async def until(condition: Any, seconds: float = 10) -> None:
    """Wait for something that another task brings about."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")
