"""How fast a stop acts: `python bench/stop.py URL KEY SECOND [PEOPLE]` against a running demo, loopback only.

From the officer's call to the first denied answer; each stop is lifted again by SECOND, another officer's key. With
PEOPLE, a list of so many people is imported beside it.
"""

import asyncio
import statistics
import sys
import time

import httpx

from mythos_gate.demo import QUESTION_ALLOWED

ROUNDS = 20
STOP = {"scope": "model", "target": "mythos-5"}


async def rounds(client: httpx.AsyncClient, second: dict[str, str], beside: asyncio.Task[None] | None) -> list[float]:
    """Milliseconds of each round: at least ROUNDS of them, and until the import beside them is done."""
    times: list[float] = []
    while len(times) < ROUNDS or not (beside is None or beside.done()):
        await until(client, allowed=True)
        begun = time.perf_counter()
        made = (await client.post("/v1/stops", json=STOP)).raise_for_status().json()["id"]
        await until(client, allowed=False)
        times.append((time.perf_counter() - begun) * 1e3)
        lift = (await client.post(f"/v1/stops/{made}/lift")).raise_for_status()
        (await client.post(f"{lift.headers['location']}/confirm", headers=second)).raise_for_status()
    return times


async def until(client: httpx.AsyncClient, *, allowed: bool) -> None:
    for _ in range(200):
        answer = await client.post("/access/v1/evaluation", json=QUESTION_ALLOWED)
        if answer.status_code == httpx.codes.OK and answer.json()["decision"] is allowed:
            return
    sys.exit("the answer did not change")


async def importing(client: httpx.AsyncClient, people: int) -> None:
    """Twice, the second time from another country, so that every record is made and then changed."""
    for country in ("US", "DE"):
        listed = "".join(f"ottervane-health,bench-{each},employee,{country}\n" for each in range(people))
        data = f"organization,external_id,employment,work_country\n{listed}"
        headers = {"Content-Type": "text/csv"}
        (await client.post("/v1/people/import", content=data, headers=headers)).raise_for_status()


async def main(url: str, key: str, second: str, people: int) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
        beside = asyncio.create_task(importing(client, people)) if people else None
        times = sorted(await rounds(client, {"Authorization": f"Bearer {second}"}, beside))
        if beside:
            beside.result()
    told = f"median {statistics.median(times):.0f} ms   worst {times[-1]:.0f} ms of {len(times)}"
    print(f"{people:6} people beside   {told}")


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5} or "127.0.0.1" not in sys.argv[1]:
        sys.exit(__doc__)
    for count in (0, int(sys.argv[4])) if len(sys.argv) == 5 else (0,):
        asyncio.run(main(*sys.argv[1:4], count))
