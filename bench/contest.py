"""Servers in turns: each round asks every one of them, so that a noisy machine is as noisy for all. Medians count."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import entries, load, processes

SETTLE = 0.3  # seconds: what was in flight when the load stopped is answered to nobody, and logged
WARMING = 2.0  # seconds, for every one
PASSES = 5  # so often is a gate asked about everybody first: then each worker knows nearly all, as in daily use


class Uncounted(Exception):
    """The gate's answers and its log's entries do not match."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """Somebody asked in some way. `roots`: whose CPU counts. `database`: where its entries are counted."""

    what: str
    who: str
    target: load.Target
    connections: int
    roots: Sequence[int]
    decisions: int = 1  # of one request
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds: requests and decisions a second, milliseconds, microseconds of CPU a decision."""

    what: str
    who: str
    connections: int
    requests_per_second: float
    decisions_per_second: float
    p50: float
    p99: float
    cpu: float
    rounds: int
    rates: tuple[float, ...]  # requests a second of each


@dataclass(slots=True)
class _Seen:
    loads: list[load.Load] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)


def run(entrants: Sequence[Entrant], seconds: float, rounds: int) -> list[Figures]:
    """`Uncounted` if an answer of the gate has no entry, or an entry no answer."""
    for entrant in {entrant.target.url: entrant for entrant in entrants}.values():
        _warm(entrant, min(seconds, WARMING))
    seen = [_Seen() for _ in entrants]
    start = 0
    pairs = list(zip(entrants, seen, strict=True))
    for _ in range(rounds):
        for entrant, each in pairs:
            _ask(entrant, each, seconds, start)
        pairs.reverse()  # whoever comes first meets what the last round left to be done
        # The next round goes on where the slowest one came to, so that all subjects have their turn.
        start += min(each.loads[-1].requests for each in seen) // load.THREADS
    return [_figures(entrant, each) for entrant, each in zip(entrants, seen, strict=True)]


def _warm(entrant: Entrant, seconds: float) -> None:
    done = load.run(entrant.target, entrant.connections, seconds).requests
    if entrant.database:
        with entrant.target.bodies.open("rb") as bodies:
            wanted = PASSES * sum(1 for _ in bodies)
        while done < wanted:
            done += load.run(entrant.target, entrant.connections, 2 * seconds, done // load.THREADS).requests


def _ask(entrant: Entrant, seen: _Seen, seconds: float, start: int) -> None:
    counted = entries.decisions(entrant.database) if entrant.database else 0
    before = processes.cpu(entrant.roots)
    measured = load.run(entrant.target, entrant.connections, seconds, start)
    seen.cpus.append((processes.cpu(entrant.roots) - before) / measured.requests / entrant.decisions * 1e6)
    seen.loads.append(measured)
    if entrant.database:
        time.sleep(SETTLE)
        logged = entries.decisions(entrant.database) - counted
        least, most = measured.requests, measured.requests + entrant.connections
        if not least * entrant.decisions <= logged <= most * entrant.decisions:
            raise Uncounted(f"{entrant.what}: {measured.requests} answers, {logged} entries")


def _figures(entrant: Entrant, seen: _Seen) -> Figures:
    rate = statistics.median(each.rate for each in seen.loads)
    return Figures(
        entrant.what,
        entrant.who,
        entrant.connections,
        rate,
        rate * entrant.decisions,
        statistics.median(each.p50 for each in seen.loads),
        statistics.median(each.p99 for each in seen.loads),
        statistics.median(seen.cpus),
        len(seen.loads),
        tuple(each.rate for each in seen.loads),
    )
