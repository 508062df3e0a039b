"""How fast a stop acts: `python bench/stop.py URL KEY SECOND [PEOPLE]` against a running demo, loopback only.

From the officer's call, and from its answer, to the first denied answer; each stop is lifted again by SECOND, another
officer's key. With PEOPLE, a list of so many people is imported beside it.
"""

import asyncio
import statistics
import sys
import time
from typing import Any

import httpx

from mythos_gate.demo import QUESTION_ALLOWED

ROUNDS = 20
STOP = {"scope": "model", "target": "mythos-5"}
Times = list[tuple[float, float]]


async def rounds(
    client: httpx.AsyncClient,
    second: dict[str, str],
    beside: asyncio.Task[None] | None = None,
    question: dict[str, Any] = QUESTION_ALLOWED,
    count: int = ROUNDS,
) -> Times:
    """Milliseconds from call and from answer, of so many rounds at least, and until the import beside them is done."""
    times: Times = []
    while len(times) < count or not (beside is None or beside.done()):
        await until(client, question, allowed=True)
        called = time.perf_counter()
        made = (await client.post("/v1/stops", json=STOP)).raise_for_status().json()["id"]
        answered = time.perf_counter()
        await until(client, question, allowed=False)
        seen = time.perf_counter()
        times.append(((seen - called) * 1e3, (seen - answered) * 1e3))
        lift = (await client.post(f"/v1/stops/{made}/lift")).raise_for_status()
        approval = {"sha256": lift.json()["sha256"]}
        (await client.post(f"{lift.headers['location']}/approve", json=approval, headers=second)).raise_for_status()
    return times


async def until(client: httpx.AsyncClient, question: dict[str, Any], *, allowed: bool) -> None:
    for _ in range(200):
        answer = await client.post("/access/v1/evaluation", json=question)
        if answer.status_code == httpx.codes.OK and answer.json()["decision"] is allowed:
            return
    raise RuntimeError("the answer did not change")


async def importing(client: httpx.AsyncClient, people: int) -> None:
    """Twice, the second time from another country, so that every record is made and then changed."""
    for country in ("US", "DE"):
        listed = "".join(f"ottervane-health,bench-{each},employee,{country}\n" for each in range(people))
        data = f"organization,external_id,employment,work_country\n{listed}"
        headers = {"Content-Type": "text/csv"}
        (await client.post("/v1/people/import", content=data, headers=headers)).raise_for_status()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def main(url: str, key: str, second: str, people: int) -> None:
    async with httpx.AsyncClient(base_url=url, headers=bearer(key), timeout=120) as client:
        beside = asyncio.create_task(importing(client, people)) if people else None
        times = sorted(call for call, _ in await rounds(client, bearer(second), beside))
        if beside:
            beside.result()
    told = f"median {statistics.median(times):.0f} ms   worst {times[-1]:.0f} ms of {len(times)}"
    print(f"{people:6} people beside   {told}")


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5} or "127.0.0.1" not in sys.argv[1]:
        sys.exit(__doc__)
    for beside in (0, int(sys.argv[4])) if len(sys.argv) == 5 else (0,):
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], beside))
