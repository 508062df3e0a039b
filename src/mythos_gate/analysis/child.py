"""A simulation in a process of its own: it takes all cores for a minute, and must not make an answer wait."""

import asyncio
import gc
import sys
from typing import Any

import orjson

from mythos_gate import db
from mythos_gate.analysis import population
from mythos_gate.analysis.impact import Draft, Impact, Simulation
from mythos_gate.analysis.population import Population
from mythos_gate.db import DbRole
from mythos_gate.decision.library import Library
from mythos_gate.decision.policy import Policy
from mythos_gate.errors import Invalid, NotDecided


async def impact_of(url: str, files: dict[str, str]) -> tuple[Impact, str, str | None]:
    """Of a policy on those who are on record; with the policy and the data set in force then. `NotDecided`.

    `url` is of compliance's role. It goes in by a pipe: what a command line says, others can read.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await child.communicate(orjson.dumps({"url": url, "files": files}))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise NotDecided("the simulation failed: the service's log says why")
    found = orjson.loads(told)
    return Impact(found["figures"], found["apart"]), found["policy"], found["data_set"]


async def _everybody(url: str, policy: Policy) -> Population:
    connection = await db.connect(url, DbRole.COMPLIANCE)
    try:
        return await population.load(connection, Library(), [policy], lambda _: None)
    finally:
        await connection.close()


def main() -> None:
    """Reads what is asked from standard input, and writes the impact as JSON."""
    gc.disable()  # nothing is let go of before the end
    asked: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    try:
        policy = Policy(asked["files"])
        everybody = asyncio.run(_everybody(asked["url"], policy))
    except (Invalid, NotDecided) as error:
        sys.exit(f"mythos-gate: {error}")
    found = Simulation(everybody, lambda *_: None).impact(Draft(policy))
    standing = {"policy": everybody.policy_sha256, "data_set": everybody.data_set}
    sys.stdout.buffer.write(orjson.dumps({"figures": found.figures, "apart": found.apart, **standing}))


if __name__ == "__main__":
    main()
