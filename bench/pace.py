"""Asks at a steady rate, whatever the answers take: `python -m bench.pace URL BODIES RATE SECONDS`, key in BENCH_KEY.

A process of its own, so that its work is nobody else's. Prints how many were asked, how many of them were refused,
and how late the latest answer was. What cannot be asked in time is left.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from bench.gate import EVALUATION
from bench.wire import Connection

CONNECTIONS = 32


async def paced(url: str, bodies: list[str], rate: float, seconds: float) -> dict[str, float]:
    count = min(len(bodies), round(rate * seconds))
    queue = iter(range(count))
    begun = time.perf_counter()
    asked, refused, late = 0, 0, 0.0

    async def work() -> None:
        nonlocal asked, refused, late
        async with Connection(url, os.environ["BENCH_KEY"]) as connection:
            for number in queue:
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if time.perf_counter() > begun + seconds:
                    return
                status, _, _ = await connection.post(EVALUATION, json.loads(bodies[number]))
                asked, refused = asked + 1, refused + (status != 200)
                late = max(late, time.perf_counter() - due)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return {"asked": asked, "refused": refused, "late": late}


if __name__ == "__main__":
    url, path, rate, seconds = sys.argv[1:]
    found = asyncio.run(paced(url, Path(path).read_text().splitlines(), float(rate), float(seconds)))
    print(json.dumps(found))
