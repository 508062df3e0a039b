"""Seat claims beside requests that hold a seat: what the claims cost those others."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import load
from bench.gate import Answered, Gate, free_seats
from mythos_gate.settings import root

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Claims:
    """`cost`: the share of throughput lost. `rate`: claims made in a second; `late` in seconds."""

    rate_without: float
    rate_with: float
    rate: float
    refused: int
    late: float

    @property
    def cost(self) -> float:
        return 1 - self.rate_with / self.rate_without


async def measure(
    gate: Gate, target: load.Target, claimants: Sequence[Answered], rate: int, seconds: int, rounds: int
) -> Claims:
    """In turns: people who claim a seat at their question, and the same people holding it, so many a second."""
    people = [each.question for each in claimants[: rate * seconds]]
    bodies = load.write(target.bodies.with_name("claimants.jsonl"), (each.body for each in people))
    without, beside, rates, paces = [], [], [], []
    for number in range(rounds):
        for claiming in (True, False):
            if claiming:
                await free_seats(gate.database, [each.id for each in people])
            before = len(holders(gate.database))
            measured, pace = await _beside(gate, target, bodies, rate, seconds, number)
            claimed = len(holders(gate.database)) - before
            if claiming:
                beside.append(measured)
                rates.append(claimed / seconds)
                paces.append(pace)
            else:
                without.append(measured)
    refused, late = sum(each["refused"] for each in paces), max(each["late"] for each in paces)
    return Claims(statistics.median(without), statistics.median(beside), statistics.median(rates), round(refused), late)


async def _beside(
    gate: Gate, target: load.Target, bodies: Path, rate: int, seconds: int, number: int
) -> tuple[float, dict[str, float]]:
    command = [sys.executable, "-m", "bench.pace", gate.url, str(bodies), str(rate), str(seconds)]
    environment = {**os.environ, "BENCH_KEY": gate.keys.gateway, "PYTHONPATH": f"{root() / 'src'}:{root()}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as pacing:
        measured = await asyncio.to_thread(load.run, target, CONNECTIONS, seconds, number)
        told, _ = pacing.communicate(timeout=seconds + 60)
    return measured.rate, json.loads(told)


def holders(database: str) -> set[str]:
    """People who hold a seat; a claim may take two grants' at once."""
    with psycopg.connect(database) as connection:
        return {str(row[0]) for row in connection.execute("SELECT DISTINCT person_id FROM seats")}
