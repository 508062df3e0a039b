"""The gate as a user runs it: `mythos-gate serve --workers 2` over a fresh copy of the programme, with real keys."""

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy.ext.asyncio import create_async_engine

from bench import processes
from bench.loading import ACTOR
from bench.programme import ORIGIN
from bench.questions import Question, batch
from bench.wire import Connection
from mythos_gate import db, sequencing
from mythos_gate.registry import callers, officers, seats
from mythos_gate.registry.change import Registry
from mythos_gate.settings import Settings, root
from mythos_gate.terms import Role

WORKERS = 2
EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
BATCH = 100
PATIENCE = 30.0  # seconds for the first answer
TRIES = 5  # of a busy machine


@dataclass(frozen=True, slots=True)
class Keys:
    gateway: str
    compliance: str
    second: str  # another officer's: lifting a stop takes two


@dataclass(frozen=True, slots=True)
class Gate:
    """`started`: seconds from the command to the first answer. `roots`: its processes and those of its Postgres."""

    url: str
    database: str
    keys: Keys
    started: float
    pid: int
    postmaster: int

    @property
    def roots(self) -> list[int]:
        return [self.pid, self.postmaster]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the gate's answer: the decision's id, whether it allows, and the facts that it rests on."""

    question: Question
    id: str
    allowed: bool
    facts: dict[str, str]


@asynccontextmanager
async def serving(
    database: str, postmaster: int, port: int, folder: Path, probe: Question, *, tree: bool = True
) -> AsyncIterator[Gate]:
    """Serve on the port of loopback; `folder` is where it keeps its state and what it prints.

    Without `tree` nothing is queued for the log's tree, sequenced or signed: to see what that costs.
    """
    keys = await _keys(database)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        "DATABASE_URL": database,
        "MYTHOS_GATE_STATE": str(folder),
        "MYTHOS_GATE_DIGEST_KEY": secrets.token_hex(32),
        "MYTHOS_GATE_ORIGIN": ORIGIN,
        "PYTHONPATH": str(root() / "src"),
    }
    command = [sys.executable, "-m", "mythos_gate", "serve", "--workers", str(WORKERS), "--port", str(port)]
    sequencing.make_keys(Settings(state=folder, origin=ORIGIN))
    if not tree:
        command.append("--no-sequencer")
        with psycopg.connect(database) as owner:
            owner.execute("ALTER TABLE log_entries DISABLE TRIGGER enqueue")
    url, begun = f"http://127.0.0.1:{port}", time.perf_counter()
    with processes.running(command, folder / "printed.log", environment) as pid:
        await _first_answer(url, keys.gateway, probe)
        yield Gate(url, database, keys, time.perf_counter() - begun, pid, postmaster)


async def _first_answer(url: str, key: str, probe: Question) -> None:
    end = time.perf_counter() + PATIENCE
    while True:
        try:
            async with Connection(url, key) as connection:
                await connection.asked(EVALUATION, probe.body)
                return
        except (OSError, EOFError):
            if time.perf_counter() > end:
                raise
            await asyncio.sleep(0.01)


async def _keys(database: str) -> Keys:
    made = []
    roles = [("gateway", Role.GATEWAY, True), ("first", Role.COMPLIANCE, False), ("second", Role.COMPLIANCE, False)]
    engine = create_async_engine(db.sqlalchemy_url(database))
    try:
        for name, role, service in roles:
            async with Registry(engine, ORIGIN).change("key_created", ACTOR) as change:
                scope = callers.Scope(person=None if service else await officers.enrol(change, f"bench-office/{name}"))
                made.append((await callers.create_key(change, name, [role], service=service, scope=scope)).text)
    finally:
        await engine.dispose()
    return Keys(*made)


async def census(gate: Gate, asked: Sequence[Question]) -> list[Answered]:
    """Ask each question once, as an officer who is shown the facts; all are recorded like any other."""
    batches = [asked[first : first + BATCH] for first in range(0, len(asked), BATCH)]
    answered: list[list[Answered]] = [[] for _ in batches]
    queue = iter(enumerate(batches))

    async def work() -> None:
        async with Connection(gate.url, gate.keys.compliance) as connection:
            for number, questions in queue:
                answered[number] = await _answers(connection, questions)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return [each for answers in answered for each in answers]


async def _answers(connection: Connection, questions: Sequence[Question]) -> list[Answered]:
    for _ in range(TRIES):
        status, headers, content = await connection.post(EVALUATIONS, batch(questions) | {"options": {"explain": True}})
        if status == 200:
            break
    else:
        raise RuntimeError(f"{EVALUATIONS}: {status}: {content.decode()[:500]}")
    ids = headers["x-decision-ids"].split(",")
    return [
        Answered(question, identifier, answer["decision"], answer["context"]["reason_admin"]["facts"])
        for question, identifier, answer in zip(questions, ids, json.loads(content)["evaluations"], strict=True)
    ]


async def free_seats(database: str, people: Sequence[str]) -> None:
    """Whoever of them asks next has to claim one again."""
    engine = create_async_engine(db.sqlalchemy_url(database))
    try:
        async with Registry(engine, ORIGIN).change("seats_released", ACTOR) as change:
            await seats.release(change.connection, people)
    finally:
        await engine.dispose()
