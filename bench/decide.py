"""What a decision costs: each step alone, then the whole service over loopback. `python bench/decide.py URL KEY`.

Machines are shared and noisy: compare two versions in one sitting, by ratio.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from mythos_gate.decision import cases, facts
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.demo import QUESTION_ALLOWED
from mythos_gate.settings import root

ROUNDS = 300
SECONDS = 5.0


def microseconds(work: Callable[[], object]) -> float:
    """The median of ROUNDS runs."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def pure(folder: Path) -> None:
    policy = Policy(read_files(folder))
    known = cases.read_jurisdictions((folder / "jurisdictions.csv").read_text(encoding="utf-8"))
    file = cases.read((folder / "cases" / "people.json").read_text(encoding="utf-8"))
    document = cases.document(file.base, file.scenarios[0].overrides)
    records, request = document.records(known), document.asked()
    vector = facts.derive(records, request, document.now).vector
    print(f"facts.derive    {microseconds(lambda: facts.derive(records, request, document.now)):8.1f} us")
    print(f"policy.decide   {microseconds(lambda: policy.decide(vector)):8.1f} us")


async def served(url: str, key: str, askers: int) -> None:
    """Bounded in time; loopback only."""
    headers = {"Authorization": f"Bearer {key}"}
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    async def ask(client: httpx.AsyncClient) -> None:
        while (begun := time.perf_counter()) < end:
            answer = await client.post("/access/v1/evaluation", json=QUESTION_ALLOWED, headers=headers)
            answer.raise_for_status()
            times.append(time.perf_counter() - begun)

    async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=askers)) as client:
        await asyncio.gather(*(ask(client) for _ in range(askers)))
    times.sort()
    print(
        f"{askers:3} askers      {len(times) / SECONDS:8.0f} /s   median {times[len(times) // 2] * 1e3:.1f} ms"
        f"   p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms"
    )


if __name__ == "__main__":
    pure(root() / "policies")
    if len(sys.argv) == 3:
        if "127.0.0.1" not in sys.argv[1]:
            sys.exit("loopback only")
        for askers in (1, 16):
            asyncio.run(served(sys.argv[1], sys.argv[2], askers))
