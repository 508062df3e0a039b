"""Rollouts: another policy beside the one in force, watched alone or deciding for some, from a time on."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import RowMapping, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry.change import Change, Registry
from mythos_gate.tables import policy_differences, policy_revisions, programme, rollouts
from mythos_gate.terms import RolloutOutcome

SELF = "mythos-gate"  # whoever acts where nobody does
WHOLE = 100
# What is due: whole and begun, or over its limit.
DUE = text("""
SELECT r.id, r.policy_revision, r.percent = 100 AND r.organizations IS NULL AND r.starts_at <= :now AS is_whole,
  coalesce(r.halt_after <= (SELECT sum(d.decisions) FROM policy_differences d WHERE d.rollout_id = r.id), false)
    AS is_over
FROM rollouts r WHERE r.ended_at IS NULL
""")
RECORD = text("""
INSERT INTO policy_differences AS d (rollout_id, vector, before, after, facts, decisions, first_at, last_at)
VALUES (:rollout, :vector, :before, :after, CAST(:facts AS jsonb), :decisions, :first, :last)
ON CONFLICT (rollout_id, vector, before, after)
DO UPDATE SET decisions = d.decisions + excluded.decisions, last_at = greatest(d.last_at, excluded.last_at)
""")


async def start(change: Change, number: int, plan: Mapping[str, Any]) -> str:
    """Its id; what there was before ends with it. `plan`: `starts_at`, `percent`, `organizations`, `halt_after`."""
    await supersede(change)
    identifier = f"rol_{uuid.uuid4().hex}"
    starts_at = datetime.fromisoformat(plan["starts_at"])
    row = {"id": identifier, "policy_revision": number, **plan, "starts_at": starts_at}
    await change.connection.execute(insert(rollouts).values(row))
    change.details |= {"rollout": identifier, **plan}
    return identifier


async def supersede(change: Change) -> None:
    """Another activation ends what is under way."""
    ended = await change.connection.execute(_ending(RolloutOutcome.SUPERSEDED).returning(rollouts.c.id))
    if (identifier := ended.scalar_one_or_none()) is not None:
        change.details |= {"superseded": identifier}


async def end(change: Change, identifier: str) -> dict[str, Any]:
    """From now on the policy in force decides for all again. `NotFound`, `Conflict` if it has ended."""
    done = await change.connection.execute(_ending(RolloutOutcome.ENDED).where(rollouts.c.id == identifier))
    found = await read(change.connection, identifier)
    if not done.rowcount:
        raise Conflict(f"the rollout is {found['outcome']} already")
    change.details |= {"rollout": identifier}
    return found


def _ending(outcome: RolloutOutcome) -> Any:
    ended = {"outcome": outcome, "ended_at": func.clock_timestamp()}
    return update(rollouts).where(rollouts.c.ended_at.is_(None)).values(ended)


async def settle(registry: Registry, now: datetime) -> None:
    """Put in force what has begun for all, and halt what is over its limit."""
    async with registry.engine.connect() as connection:
        due = (await connection.execute(DUE, {"now": now})).one_or_none()
    if due is None or not (due.is_whole or due.is_over):
        return
    outcome = RolloutOutcome.HALTED if due.is_over else RolloutOutcome.COMPLETED
    async with registry.change("rollout_halted" if due.is_over else "policy_activated", SELF) as change:
        done = await change.connection.execute(_ending(outcome).where(rollouts.c.id == due.id))
        if not done.rowcount:  # another process did it
            return
        change.details |= {"rollout": due.id, "after": due.policy_revision}
        if due.is_whole and not due.is_over:
            await change.connection.execute(update(programme).values(policy_revision=due.policy_revision))


async def record(connection: AsyncConnection, differences: Sequence[Any]) -> None:
    """Count them, each a `decision.rollout.Difference`."""
    rows = []
    for each in differences:
        facts = orjson.dumps(dict(each.facts), option=orjson.OPT_SORT_KEYS)
        row = {
            "rollout": each.rollout,
            "vector": sha256(facts).hexdigest(),
            "before": each.before,
            "after": each.after,
            "facts": facts.decode(),
            "decisions": each.decisions,
            "first": each.first,
            "last": each.last,
        }
        rows.append(row)
    if rows:
        await connection.execute(RECORD, rows)


async def open_one(connection: AsyncConnection) -> str | None:
    """The id of what is under way."""
    found = await connection.execute(select(rollouts.c.id).where(rollouts.c.ended_at.is_(None)))
    return found.scalar_one_or_none()


# --- reading --------------------------------------------------------------------------------------------------


async def page(connection: AsyncConnection, after: str | None, limit: int) -> list[dict[str, Any]]:
    query = _query().where(rollouts.c.id > (after or "")).order_by(rollouts.c.id).limit(limit)
    return [_shown(row) for row in (await connection.execute(query)).mappings()]


async def read(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """One, with how many answers differ. `NotFound`."""
    row = (await connection.execute(_query().where(rollouts.c.id == identifier))).mappings().one_or_none()
    if row is None:
        raise NotFound("no such rollout")
    counted = select(func.coalesce(func.sum(policy_differences.c.decisions), 0)).where(
        policy_differences.c.rollout_id == identifier
    )
    return _shown(row) | {"differing": int((await connection.execute(counted)).scalar_one())}


async def differences(connection: AsyncConnection, identifier: str, limit: int) -> list[dict[str, Any]]:
    """The most frequent first."""
    columns = [column for column in policy_differences.c if column.name not in {"rollout_id", "vector"}]
    query = select(*columns).where(policy_differences.c.rollout_id == identifier)
    ordered = query.order_by(policy_differences.c.decisions.desc(), policy_differences.c.vector).limit(limit)
    found = (await connection.execute(ordered)).mappings()
    return [{**row, "first_at": timestamp(row["first_at"]), "last_at": timestamp(row["last_at"])} for row in found]


def _query() -> Any:
    columns = [column for column in rollouts.c if column.name != "policy_revision"]
    joined = rollouts.join(policy_revisions, policy_revisions.c.number == rollouts.c.policy_revision)
    return select(*columns, policy_revisions.c.sha256.label("policy")).select_from(joined)


def _shown(row: RowMapping) -> dict[str, Any]:
    times = {name: row[name] and timestamp(row[name]) for name in ("starts_at", "ended_at", "created_at")}
    return {str(name): value for name, value in row.items()} | times
