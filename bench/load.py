"""Load by wrk: closed loop, so many connections for so many seconds, on loopback."""

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = 2
WALK = Path(__file__).with_name("walk.lua")


class Refused(Exception):
    """Not every request was answered with 200: then a figure says nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send what: `bodies` has one JSON body a line."""

    url: str
    bodies: Path
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw; times in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def write(path: Path, bodies: Iterable[Any]) -> Path:
    with path.open("w") as file:
        for body in bodies:
            file.write(json.dumps(body, separators=(",", ":")) + "\n")
    return path


def run(target: Target, connections: int, seconds: float, start: int = 0) -> Load:
    """Ask, beginning with the body of number `start`. `Refused` if one request was not answered with 200."""
    if not target.url.startswith("http://127.0.0.1:"):
        raise ValueError("loopback only")
    environment = {
        "BENCH_BODIES": str(target.bodies),
        "BENCH_THREADS": str(THREADS),
        "BENCH_START": str(start),
        **({"BENCH_KEY": target.key} if target.key else {}),
    }
    command = ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(WALK), target.url],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    seen = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    if seen["refused"] or seen["broken"] or not seen["requests"]:
        raise Refused(f"{target.url}: {seen}")
    return Load(seen["requests"], seen["microseconds"] / 1e6, seen["p50"] / 1e3, seen["p99"] / 1e3)
