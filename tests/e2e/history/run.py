"""A history as it is made: askers, officers, processes that are stopped; and what came of it."""

import asyncio
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psycopg

from mythos_gate.api.forward_auth import HEADERS
from tests.e2e.history.changes import Changes, Episode, Move
from tests.e2e.history.checker import REVISION, Answer, Change, Checker, Finding, History, Rows, Stop
from tests.e2e.history.client import Connection, Process, Reply, Servers
from tests.e2e.history.office import Office, Times
from tests.e2e.history.world import HIDES, NOTHING, Question, World
from tests.service import Service

OFFICERS = 4
HOT = 0.6  # of what is asked is about what is being changed
BATCH = 4
PATIENCE = 0.2  # seconds
STOPPED = 2.0  # seconds
MARGIN = 0.1  # seconds that an answer may be under way, beside what the client itself was late
CLOCK = 0.005  # seconds by which two readings of one clock may be apart

Span: TypeAlias = tuple[float, float]

# Which snapshot an entry was written in: not before its statement was received, not after it wrote.
NOTE = """
CREATE TABLE history_entries (id uuid, began timestamptz, wrote timestamptz);
CREATE FUNCTION history_note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN INSERT INTO history_entries VALUES (NEW.id, statement_timestamp(), clock_timestamp()); RETURN NULL; END $$;
CREATE TRIGGER history_note AFTER INSERT ON log_entries FOR EACH ROW WHEN (NEW.type = 'decision')
  EXECUTE FUNCTION history_note();
"""


@dataclass
class Clock:
    """The database's clock on the client's: when an instant of it was, at the earliest and at the latest."""

    early: float
    late: float

    @classmethod
    def compared(cls, database: str) -> "Clock":
        """The narrowest of many readings."""
        early, late = -float("inf"), float("inf")
        with psycopg.connect(database, autocommit=True) as connection:
            for _ in range(50):
                before = time.monotonic()
                [read] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or [0.0]
                early, late = max(early, before - read), min(late, time.monotonic() - read)
        return cls(early - CLOCK, late + CLOCK)

    def span(self, first: datetime, last: datetime) -> Span:
        return first.timestamp() + self.early, last.timestamp() + self.late


@dataclass(slots=True)
class Asked:
    """An answer as it came, before its entry is looked up."""

    question: str
    sent: float
    received: float
    allowed: bool
    rows: Rows
    process: int
    entry: str | None
    bare: bool = False


@dataclass
class Report:
    """What came of a history."""

    history: History
    findings: list[Finding]
    kinds: Counter[str]
    unanswered: Counter[str]
    reflected: list[float]
    unseen: Counter[str]
    unrecorded: int
    seconds: float

    def __str__(self) -> str:
        answers = self.history.answers
        said = Counter("allow" if each.allowed else min(each.rows & {"401", "403"}, default="deny") for each in answers)
        lines = [
            f"{len(answers)} answers in {self.seconds:.0f} s: {', '.join(f'{count} {each}' for each, count in said.most_common())}",
            f"no answer: {'; '.join(f'{count} times: {why}' for why, count in self.unanswered.items()) or 'never'}",
            f"{sum(self.kinds.values())} changes: {', '.join(f'{count} {kind}' for kind, count in sorted(self.kinds.items()))}",
            f"{len(self.history.stops)} times a process was stopped for {STOPPED} s",
            f"never shown: {', '.join(self.unseen) or 'none'}",
            self.delay(),
            f"answers without an entry: {self.unrecorded}",
            f"stale or late answers: {len(self.findings)}",
            *(f"  {finding}" for finding in self.findings[:20]),
        ]
        return "\n".join(lines)

    def delay(self) -> str:
        """How fast changes are seen."""
        seen = sorted(self.reflected)
        median, late = statistics.median(seen), seen[len(seen) * 99 // 100]
        told = f"median {median * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms, of {len(seen)}"
        return f"from acknowledgement to the first answer that shows it: {told}"


@dataclass
class Run:
    """One history under way."""

    world: World
    processes: Sequence[Process]
    clock: Clock
    rng: random.Random
    askers: int = 6  # of each process
    asked: list[Asked] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    askable: dict[str, Question] = field(default_factory=dict)
    hot: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    over: bool = False
    lag: float = 0.0

    def __post_init__(self) -> None:
        self._idle: dict[int, list[Connection]] = defaultdict(list)
        self._moving: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asking: set[asyncio.Future[list[bool | None]]] = set()
        self._rows: dict[tuple[str, ...], Rows] = {}

    async def make(self, episodes: Sequence[Episode], answers: int, stop_every: float = float("inf")) -> None:
        """Ask until there are as many answers, and meanwhile play the episodes."""
        late = {name for episode in episodes if episode.once for name in episode.questions}
        await self._take_seats()
        self.askable = {name: question for name, question in self.world.questions.items() if name not in late}
        async with asyncio.TaskGroup() as tasks:
            others = [
                *(
                    tasks.create_task(self._ask_on(each))
                    for each in range(len(self.processes))
                    for _ in range(self.askers)
                ),
                tasks.create_task(self._stop_now_and_then(stop_every)),
                tasks.create_task(self._watch()),
            ]
            await self._change(episodes, answers)
            self.over = True
            await asyncio.wait(others)
        await asyncio.gather(*self._asking)
        for connection in (each for idle in self._idle.values() for each in idle):
            connection.close()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask_on(self, process: int) -> None:
        while not self.over:
            name = self._choose()
            path = self.rng.random()
            if path < 0.8 or not self.askable[name].explained:
                await self.ask(process, name, "/access/v1/evaluation")
            elif path < 0.85:
                await self.ask(process, name, "/v1/explain")
            elif path < 0.9:
                await self._ask_many(process, name)
            elif path < 0.95:
                await self.ask_proxy(process, name)
            else:
                await self.search(process, name, self.rng.choice(("resource", "action")))

    def _choose(self) -> str:
        hot = [name for name in self.hot if name in self.askable]
        return self.rng.choice(hot if hot and self.rng.random() < HOT else list(self.askable))

    async def ask(self, process: int, name: str, path: str = "/access/v1/evaluation") -> bool | None:
        """What was answered, None if nothing."""
        question = self.world.questions[name]
        self.under_way[name] += 1
        try:
            reply = await self._request(process, path, question.key, question.body)
        finally:
            self.under_way[name] -= 1
        if reply.status == 200:
            said = orjson.loads(reply.body)
            return self._keep(process, name, reply, said, reply.headers.get("x-decision-id"))
        self._keep_refusal(process, [name], reply)
        return None

    async def _ask_many(self, process: int, name: str) -> None:
        key = self.askable[name].key
        names = [name, *self.rng.sample([other for other, each in self.askable.items() if each.key == key], 1)]
        names = list(dict.fromkeys(names * BATCH))[:BATCH]
        items = b",".join(self.askable[each].body for each in names)
        body = b'{"options":{"explain":true},"evaluations":[' + items + b"]}"
        self.under_way.update(names)
        try:
            reply = await self._request(process, "/access/v1/evaluations", key, body)
        finally:
            self.under_way.subtract(names)
        if reply.status == 200:
            ids = reply.headers["x-decision-ids"].split(",")
            for each, said, entry in zip(names, orjson.loads(reply.body)["evaluations"], ids, strict=True):
                self._keep(process, each, reply, said, entry)
        else:
            self._keep_refusal(process, names, reply)

    async def ask_proxy(self, process: int, name: str) -> bool | None:
        """The same by a reverse proxy's headers: only whether it is allowed is told."""
        question = self.world.questions[name]
        self.under_way[name] += 1
        try:
            reply = await self._request(process, "/forward-auth", question.key, b"", "GET", **_headers(question.body))
        finally:
            self.under_way[name] -= 1
        entry = reply.headers.get("x-decision-id")
        if entry is None:
            self._keep_refusal(process, [name], reply)
            return None
        return self._keep_bare(process, name, reply, entry, allowed=reply.status == 200)

    async def search(self, process: int, name: str, kind: str) -> bool | None:
        """Whether what is asked about is found."""
        question = self.world.questions[name]
        self.under_way[name] += 1
        try:
            reply = await self._request(process, f"/access/v1/search/{kind}", question.key, question.body)
        finally:
            self.under_way[name] -= 1
        if reply.status != 200:
            self._keep_refusal(process, [name], reply)
            return None
        return self._keep_bare(process, name, reply, None, allowed=bool(orjson.loads(reply.body)["results"]))

    async def _request(
        self, process: int, path: str, key: str, body: bytes, method: str = "POST", **headers: str
    ) -> Reply:
        idle = self._idle[process]
        connection = idle.pop() if idle else await self.processes[process].connect()
        if method == "POST":
            headers["Content_Type"] = "application/json"
        reply = await connection.request(method, path, key, body, **headers)
        idle.append(connection)
        return reply

    def _keep_bare(self, process: int, name: str, reply: Reply, entry: str | None, *, allowed: bool) -> bool:
        self.asked.append(Asked(name, reply.sent, reply.received, allowed, NOTHING, process, entry, bare=True))
        return allowed

    def _keep(self, process: int, name: str, reply: Reply, said: Any, entry: str | None) -> bool:
        context = said["context"]
        told = (*context["reason_admin"]["rows"], f"{REVISION}{context['policy_revision']}")
        shown = self._rows.setdefault(told, frozenset(told))
        self.asked.append(Asked(name, reply.sent, reply.received, said["decision"], shown, process, entry))
        return bool(said["decision"])

    def _keep_refusal(self, process: int, names: Sequence[str], reply: Reply) -> None:
        if reply.status == 503:
            self.unanswered[reply.json()["detail"]] += len(names)
        elif reply.status in {401, 403, 429}:  # the last in place of the first, after many of it
            status = "401" if reply.status == 429 else str(reply.status)
            shown = self._rows.setdefault((status,), frozenset({status}))
            self.asked += [Asked(name, reply.sent, reply.received, False, shown, process, None) for name in names]
        else:
            raise AssertionError(f"{names}: {reply.status} {reply.body!r}")

    async def _ask_everywhere(self, names: Sequence[str]) -> None:
        """Each process at once; the others than the first may be stopped, and are not waited for long."""
        first, *others = [
            asyncio.gather(*(self.ask(each, name) for name in names if name in self.askable))
            for each in range(len(self.processes))
        ]
        self._asking.update(others)
        await first
        await asyncio.wait(others, timeout=PATIENCE)

    # --- changing ---------------------------------------------------------------------------------------------------

    async def _change(self, episodes: Sequence[Episode], answers: int) -> None:
        waiting = list(enumerate(episodes))[::-1]

        async def officer() -> None:
            while waiting:
                number, episode = waiting.pop()
                # Changes and answers come to their ends together.
                while len(self.asked) < answers * number / len(episodes):
                    await asyncio.sleep(0.01)
                await self._play(episode)

        await asyncio.gather(*(officer() for _ in range(OFFICERS)))
        while len(self.asked) < answers:
            await asyncio.sleep(0.05)

    async def _play(self, episode: Episode) -> None:
        levers = sorted({lever for move in episode.moves for lever in move.shows} | set(episode.seat or ()))
        async with AsyncExitStack() as stack:
            for lever in levers:
                await stack.enter_async_context(self._moving[lever])
            cold = episode.once and self.rng.random() < 0.5
            if not cold:
                await self._warm(episode.questions)
            if episode.seat:
                await self._change_seats(episode.moves[0], *episode.seat)
                return
            for move in episode.moves:
                await self.move(move)
                if cold:
                    self._allow(episode.questions)
                await self._ask_everywhere(episode.questions)
                await asyncio.sleep(self.rng.uniform(0, 0.05))
            self.hot.subtract(episode.questions)
            self.hot += Counter()

    def _allow(self, names: Sequence[str]) -> None:
        self.askable |= {name: self.world.questions[name] for name in names}

    async def _warm(self, names: Sequence[str]) -> None:
        """What is asked is in every process's memory when the change comes, and on its way."""
        self._allow(names)
        self.hot.update(names)
        await self._ask_everywhere(names)
        await asyncio.sleep(self.rng.uniform(0, 0.02))

    async def move(self, move: Move) -> Span:
        """Make a change."""
        return await self.note(move, await move.do())

    async def note(self, move: Move, done: Times | datetime) -> Span:
        """Note what was done; of what expires, wait until it has."""
        if isinstance(done, datetime):
            done = self.clock.span(done, done)
            await asyncio.sleep(max(0.0, done[1] - time.monotonic()))
        self.changes += [Change(lever, shown, *done, move.kind) for lever, shown in move.shows.items()]
        self.kinds[move.kind] += 1
        return done

    async def _change_seats(self, release: Move, holder: str, other: str) -> None:
        """The holder is not asked about until the other one has the seat, so that nobody else takes it."""
        del self.askable[holder]
        while self.under_way[holder]:
            await asyncio.sleep(0.005)
        sent, _ = await self.move(release)
        while not await self.ask(self.rng.randrange(len(self.processes)), other):
            await asyncio.sleep(0.01)
        taken = f"seat {holder.removesuffix(' person')}"
        self.changes.append(Change(taken, frozenset({"vendor-seat"}), sent, time.monotonic(), "seat claimed"))
        self.kinds["seat claimed"] += 1
        self._allow([holder])
        await self._ask_everywhere([holder, other])

    async def _take_seats(self) -> None:
        for name in (name for name in self.world.questions if name.startswith("s") and name.endswith("/a person")):
            while not await self.ask(0, name):
                await asyncio.sleep(0.05)

    # --- beside -----------------------------------------------------------------------------------------------------

    async def _stop_now_and_then(self, every: float) -> None:
        """Each but the first, in turn."""
        for turn in range(1_000_000):
            until = time.monotonic() + every
            while time.monotonic() < until:
                if self.over:
                    return
                await asyncio.sleep(0.05)
            number = turn % (len(self.processes) - 1) + 1
            begun = time.monotonic()
            self.processes[number].stop()
            await asyncio.sleep(STOPPED)
            self.processes[number].go_on()
            self.stops.append(Stop(number, begun, time.monotonic()))

    async def _watch(self) -> None:
        """How late the client itself can be."""
        while not self.over:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            self.lag = max(self.lag, time.monotonic() - due)

    # --- what came of it --------------------------------------------------------------------------------------------

    def report(self, deadline: float, seconds: float) -> Report:
        entries = {
            str(identifier): (began, wrote)
            for identifier, began, wrote in self.world.service.sql("SELECT id, began, wrote FROM history_entries")
        }
        spans = {identifier: self.clock.span(*times) for identifier, times in entries.items()}
        answers = [
            Answer(
                each.question,
                each.sent,
                each.received,
                each.allowed,
                each.rows,
                each.process,
                spans.get(each.entry or ""),
                each.bare,
            )
            for each in self.asked
        ]
        history = History(
            {name: question.levers for name, question in self.world.questions.items()},
            self.changes,
            answers,
            deadline,
            MARGIN + self.lag,
            self.world.starts,
            HIDES,
            self.stops,
        )
        checker = Checker(history)
        seen = checker.reflections()
        return Report(
            history,
            checker.findings(),
            self.kinds,
            self.unanswered,
            [after for _, after in seen if after is not None],
            Counter(change.kind for change, after in seen if after is None),
            sum(1 for each in self.asked if each.entry and each.entry not in spans),
            seconds,
        )


def _headers(body: bytes) -> dict[str, str]:
    """The question as GET /forward-auth reads it (`api/forward_auth.HEADERS`)."""
    asked = orjson.loads(body)
    found = {}
    for name, path in HEADERS.items():
        value: Any = asked
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[f"X_Gate_{name.title()}"] = value
    return found


@asynccontextmanager
async def running(
    servers: Servers,
    database: str,
    folder: Path,
    *,
    copies: int,
    processes: int = 2,
    broken: str | None = None,
    **started: Any,
) -> AsyncIterator[Run]:
    """A programme of so many organizations alike, processes over it, and a history that has not begun.

    The first process is the officers' own: it is as it should be, and never stopped.
    """
    async with Service.running(database, folder / "office") as service:
        service.sql(NOTE)
        await service.prepare()
        begun = [
            await servers.start(database, folder / f"server-{each}", broken=broken if each else None, **started)
            for each in range(processes)
        ]
        try:
            world = await World.made(await Office.opened(service, begun), copies)
            yield Run(world, begun, Clock.compared(database), random.Random(copies))
        finally:
            for process in begun:
                process.end()


async def history(
    servers: Servers,
    database: str,
    folder: Path,
    *,
    answers: int,
    changes: int,
    copies: int,
    stop_every: float,
    deadline: float,
    delay: float,
    askers: int = 6,
    broken: str | None = None,
) -> Report:
    """Make one, and check it."""
    async with running(servers, database, folder, copies=copies, deadline=deadline, delay=delay, broken=broken) as run:
        run.askers, begun = askers, time.monotonic()
        await run.make(Changes(run.world).episodes(changes, run.rng), answers, stop_every)
        return run.report(deadline, time.monotonic() - begun)
