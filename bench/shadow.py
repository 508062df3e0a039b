"""`make bench SIZE=shadow`: what it costs an answer that another policy is watched beside the one in force."""

import shutil
import statistics
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import create_async_engine

from bench import contest, run
from bench.impact import lacking
from bench.loading import ACTOR
from bench.programme import ORIGIN
from bench.run import Plan, Say
from mythos_gate import db
from mythos_gate.decision.policy import content_hash
from mythos_gate.registry import policies
from mythos_gate.registry.change import Registry

PAIRS = 8
CONNECTIONS = (2, 64)  # for latency, and for all that the cores give
SEEN = "SELECT coalesce(sum(decisions), 0) FROM policy_differences"


async def measure(plan: Plan, state: Path, say: Say) -> dict[str, Any]:
    """Two gates over copies of one programme, asked in turns; one watches. The median over the pairs counts."""
    scratch = state / "scratch"
    with run.alone(state), run.postgres(state) as (owner, postmaster):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        async with AsyncExitStack() as stack:
            gate, watching = [
                await stack.enter_async_context(run.served_by(plan, plan.size, owner, postmaster, scratch, name, say))
                for name in ("gate", "watching")
            ]
            await _watch(watching.gate.database)
            say(f"{PAIRS} pairs, with a watched policy and without")
            entrants = [
                served.single(connections, who)
                for connections in CONNECTIONS
                for served, who in ((gate, "gate"), (watching, "watching"))
            ]
            figures = contest.run(entrants, plan.seconds, PAIRS)
            with psycopg.connect(watching.gate.database) as connection:
                seen = connection.execute(SEEN).fetchall()[0][0]
    found: dict[str, Any] = {"size": "shadow", "differences_counted": int(seen), "rows": []}
    for alone, beside in zip(figures[::2], figures[1::2], strict=True):
        pairs = [1 - other / one for one, other in zip(alone.rates, beside.rates, strict=True)]
        found["rows"] += [
            {
                "who": each.who,
                "connections": each.connections,
                "p50_ms": each.p50,
                "p99_ms": each.p99,
                "cpu_us": each.cpu,
            }
            for each in (alone, beside)
        ]
        found |= {
            f"rate_cost_{alone.connections}": statistics.median(pairs),
            f"p50_cost_{alone.connections}": beside.p50 / alone.p50 - 1,
            f"cpu_cost_{alone.connections}": beside.cpu / alone.cpu - 1,
        }
    return found


async def _watch(database: str) -> None:
    """A policy that answers some of the questions otherwise."""
    files = lacking("training-expired")
    sha256 = content_hash(files)
    engine = create_async_engine(db.sqlalchemy_url(database))
    try:
        async with Registry(engine, ORIGIN).change("policy_stored", ACTOR) as change:
            await policies.store(change, sha256, files)
        async with Registry(engine, ORIGIN).change("policy_watched", ACTOR) as change:
            await policies.watch(change, sha256, datetime.now(UTC))
    finally:
        await engine.dispose()
