"""One run, from an empty state folder to the figures."""

import fcntl
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import httpx

from bench import (
    claims,
    contest,
    credentials,
    entries,
    gate,
    inprocess,
    load,
    peers,
    processes,
    programme,
    questions,
    report,
    stop,
    tree,
)
from bench.contest import Entrant
from bench.gate import BATCH, EVALUATION, EVALUATIONS, Answered, Gate
from bench.programme import Size
from bench.questions import Question
from bench.wire import Connection
from mythos_gate import embedded
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import root
from mythos_gate.terms import FACTS

PORTS = {"gate": 18321, "large": 18322, "cerbos": 18323, "echo": 18324, "treeless": 18325, "watching": 18326}
SINGLE, MANY = (16, 64), 4  # connections
STOPS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """`people` and `agents` make the working set; `cold` are asked about once; `claimants` claim seats.

    `claims` are so many a second; `inprocess` questions are asked in process. Each measurement takes so many `seconds`,
    in so many `rounds`.
    """

    name: str
    size: Size
    people: int
    agents: int
    cold: int
    claimants: int
    claims: int
    inprocess: int
    seconds: float
    rounds: int
    large: Size | None = None


SMALL = Size(300, 30_000)
PLANS = {
    plan.name: plan
    for plan in (
        Plan("tiny", Size(12, 900), 400, 100, 50, 400, 25, 100, 1, 1),
        Plan("small", SMALL, 16_000, 4_000, 1_000, 10_000, 500, 4_000, 4, 3),
        Plan("full", SMALL, 16_000, 4_000, 1_000, 10_000, 500, 4_000, 8, 5, Size(300, 1_000_000)),
    )
}


@dataclass(frozen=True, slots=True)
class Served:
    """A running gate, what it is asked, and what it answered to that before."""

    gate: Gate
    asked: Sequence[Question]
    answered: Sequence[Answered]
    bodies: Path

    def single(self, connections: int, who: str) -> Entrant:
        target = load.Target(f"{self.gate.url}{EVALUATION}", self.bodies, self.gate.keys.gateway)
        return Entrant("single", who, target, connections, self.gate.roots, database=self.gate.database)


async def run(plan: Plan, state: Path, cerbos: Path, say: "Say") -> report.Report:
    """All of it; what it started has ended when it returns."""
    scratch = state / "scratch"
    with alone(state), postgres(state) as (owner, postmaster):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(
                served_by(plan, plan.size, owner, postmaster, scratch, "gate", say)
            )
            others = {}
            for name, size_ in (("treeless", plan.size), ("large", plan.large)):
                if size_:
                    made = served_by(plan, size_, owner, postmaster, scratch, name, say)
                    others[name] = await stack.enter_async_context(made)
            rows = Policy(read_files(root() / "policies")).rows
            rival = stack.enter_context(peers.cerbos(cerbos, rows, PORTS["cerbos"], scratch / "cerbos"))
            size = await _answer_size(served)
            bare = stack.enter_context(peers.echo(size, gate.WORKERS, PORTS["echo"], scratch))
            return await _measure(plan, served, others, rival, bare, scratch, say)


class Say:
    """What the run is at, with the seconds since its begin."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def __call__(self, text: str) -> None:
        print(f"{time.perf_counter() - self._begun:6.1f} s  {text}", flush=True)


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Two runs over one state folder would stop each other's Postgres: the second is refused."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"bench: another run uses {state}: wait for it, or give another --state")
        yield


@contextmanager
def postgres(state: Path) -> Iterator[tuple[str, int]]:
    """The owner's URL and the postmaster's process id; started on the cores of this process, and stopped."""
    embedded.stop(state)
    owner = embedded.start(state)
    try:
        pid_file = next(state.glob("data-*/postmaster.pid"))
        yield owner, int(pid_file.read_text().partition("\n")[0])
    finally:
        embedded.stop(state)


@asynccontextmanager
async def served_by(
    plan: Plan, size: Size, owner: str, postmaster: int, scratch: Path, name: str, say: Say
) -> AsyncIterator[Served]:
    """A gate over a fresh copy of the programme, asked everything once."""
    say(f"{size.people:,} people of {size.organizations} organizations")
    copied = await programme.template(owner, size, scratch / "generated")
    database = programme.fresh(owner, copied, name)
    try:
        people = questions.of_people(database, plan.people + plan.cold + plan.claimants)
        agents = questions.of_agents(database, plan.agents)
        asked = questions.mixed(people[: plan.people], agents)
        ids = [each.id for each in people], [each.id for each in agents]
        await programme.refresh(database, programme.loaded_at(owner, copied), *ids)
        grown = name != "treeless"
        async with gate.serving(database, postmaster, PORTS[name], scratch / name, asked[0], tree=grown) as running:
            say(f"the gate answers {running.started:.1f} s after its start; asking {len(asked):,} questions once")
            answered = await gate.census(running, asked)
            bodies = load.write(scratch / f"{name}.jsonl", (each.body for each in asked))
            yield Served(running, asked, answered, bodies)
    finally:
        programme.drop(owner, database)


async def _measure(
    plan: Plan,
    served: Served,
    others: Mapping[str, Served],
    rival: peers.Peer,
    bare: peers.Peer,
    scratch: Path,
    say: Say,
) -> report.Report:
    other = {"start_to_first_answer_s": served.gate.started}
    vectors = {tuple(each.facts[fact] for fact in FACTS): each for each in served.answered}
    await _check(rival, list(vectors.values()))
    say(f"Cerbos answers {len(vectors)} different fact vectors as the gate does")
    other |= await _cold(plan, served)
    say("in turns: single evaluations and batches")
    figures = contest.run(_entrants(served, others, rival, bare, scratch), plan.seconds, plan.rounds)
    for name, found in {"gate": served, **others}.items():
        other[f"memory_{name}_worker_mb"] = processes.memory(found.gate.pid)[0]
    other["memory_cerbos_mb"] = processes.memory(rival.pid)[0]
    say("in process")
    sample = served.answered[: plan.inprocess]
    prepared = await inprocess.prepare(served.gate, [each.question for each in sample])
    inside = inprocess.measure(prepared, sample, plan.rounds)
    other |= await credentials.measured()
    say("seat claims")
    claimed = await _claims(plan, served)
    say("stops")
    other |= await _stops(served)
    say("verifying the log")
    other |= await tree.caught_up(served.gate.database)
    other |= await tree.verified(served.gate.database, scratch / "gate", scratch / "bundle.zip")
    seen = entries.verify(served.gate.database, [each.id for each in served.answered])
    counted = {"entries": seen.entries, "writers": seen.writers, "subjects": len(seen.subjects)}
    other |= counted | {"vectors": len(seen.vectors)}
    versions = {"cedarpy": metadata.version("cedarpy"), "celine-regorus": metadata.version("celine-regorus")}
    return report.Report(plan.name, figures, inside, claimed, other, seen.outcomes, report.machine() | versions)


def _entrants(
    served: Served, others: Mapping[str, Served], rival: peers.Peer, bare: peers.Peer, scratch: Path
) -> list[Entrant]:
    alone = load.write(scratch / "cerbos.jsonl", map(peers.single, served.answered))
    batches = [served.answered[first : first + BATCH] for first in range(0, len(served.answered), BATCH)]
    many = load.write(scratch / "cerbos_batches.jsonl", map(peers.many, batches))
    own = load.write(
        scratch / "gate_batches.jsonl", (questions.batch([each.question for each in batch]) for batch in batches)
    )
    entrants = []
    for connections in SINGLE:
        entrants += [
            served.single(connections, "gate"),
            Entrant("single", "cerbos", _to(rival, peers.CERBOS_EVALUATION, alone), connections, rival.roots),
            Entrant("single", "echo", _to(bare, "/", served.bodies), connections, bare.roots),
        ]
    # As often as the gate: who was asked less has fewer of the subjects in memory.
    entrants += [other.single(connections, name) for name, other in others.items() for connections in SINGLE]
    target = load.Target(f"{served.gate.url}{EVALUATIONS}", own, served.gate.keys.gateway)
    return [
        *entrants,
        Entrant("batch", "gate", target, MANY, served.gate.roots, BATCH, served.gate.database),
        Entrant("batch", "cerbos", _to(rival, peers.CERBOS_CHECK, many), MANY, rival.roots, BATCH),
    ]


def _to(peer: peers.Peer, path: str, bodies: Path) -> load.Target:
    return load.Target(f"{peer.url}{path}", bodies)


async def _check(rival: peers.Peer, distinct: Sequence[Answered]) -> None:
    """ValueError unless Cerbos, asked in both forms, answers each vector as the gate did."""
    expected = [each.allowed for each in distinct]
    async with Connection(rival.url, None) as connection:
        alone = [(await connection.asked(peers.CERBOS_EVALUATION, peers.single(each)))["decision"] for each in distinct]
        many = []
        for first in range(0, len(distinct), BATCH):
            body = peers.many(distinct[first : first + BATCH])
            many += [peers.allowed(each) for each in (await connection.asked(peers.CERBOS_CHECK, body))["results"]]
    if alone != expected or many != expected:
        raise ValueError("Cerbos does not decide as the gate does")


async def _answer_size(served: Served) -> int:
    """Bytes of the gate's answers, in the mean of a hundred."""
    async with Connection(served.gate.url, served.gate.keys.gateway) as connection:
        answers = [await connection.post(EVALUATION, each.body) for each in served.asked[:100]]
    return round(statistics.mean(len(content) for _, _, content in answers))


async def _cold(plan: Plan, served: Served) -> dict[str, float]:
    """Milliseconds of a question about somebody who was never asked about, and of the same question again."""
    people = questions.of_people(served.gate.database, plan.cold, plan.people)
    medians = {}
    async with Connection(served.gate.url, served.gate.keys.gateway) as connection:
        for name in ("cold_ms", "warm_ms"):
            times = []
            for each in people:
                begun = time.perf_counter()
                await connection.asked(EVALUATION, each.body)
                times.append((time.perf_counter() - begun) * 1e3)
            medians[name] = statistics.median(times)
    return medians


async def _claims(plan: Plan, served: Served) -> claims.Claims:
    """By people outside the working set whose questions are allowed under a capped grant."""
    people = questions.of_people(served.gate.database, plan.claimants, plan.people + plan.cold)
    answered = [each for each in await gate.census(served.gate, people) if each.allowed]
    holding = claims.holders(served.gate.database)
    claimants = [each for each in answered if each.question.id in holding]
    seconds = int(min(plan.seconds, len(claimants) / plan.claims))
    target = served.single(64, "gate").target
    return await claims.measure(served.gate, target, claimants, plan.claims, seconds, plan.rounds)


async def _stops(served: Served) -> dict[str, float]:
    allowed = next(each for each in served.answered if each.allowed)
    keys = served.gate.keys
    async with httpx.AsyncClient(base_url=served.gate.url, headers=stop.bearer(keys.compliance), timeout=60) as client:
        times = await stop.rounds(client, stop.bearer(keys.second), None, allowed.question.body, STOPS)
    return {
        "stop_call_to_denied_ms": statistics.median(call for call, _ in times),
        "stop_answer_to_denied_ms": statistics.median(answer for _, answer in times),
    }
