"""Policy revisions: stored by content hash, immutable; activating flips which one is in force."""

from collections.abc import Mapping
from datetime import datetime
from difflib import unified_diff
from typing import Any

from sqlalchemy import ColumnElement, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Conflict, Invalid, NotFound
from mythos_gate.registry import rollouts
from mythos_gate.registry.change import Change
from mythos_gate.registry.policy_reports import Standing
from mythos_gate.tables import policy_revisions, programme
from mythos_gate.terms import PolicyState

# Nothing of it is stored: it follows from what is in force, what was, and what was found out.
STATE: ColumnElement[str] = literal_column("""
CASE
  WHEN policy_revisions.number = (SELECT policy_revision FROM programme) THEN 'active'
  WHEN EXISTS (SELECT FROM rollouts r WHERE r.policy_revision = policy_revisions.number AND r.ended_at IS NULL) THEN (
    SELECT CASE WHEN r.percent = 0 THEN 'shadow' WHEN r.starts_at > clock_timestamp() THEN 'scheduled' ELSE 'staged' END
    FROM rollouts r WHERE r.ended_at IS NULL)
  WHEN EXISTS (SELECT FROM programme_history h WHERE h.policy_revision = policy_revisions.number)
    THEN CASE WHEN policy_revisions.number > (SELECT policy_revision FROM programme) THEN 'rolled_back'
      ELSE 'superseded' END
  WHEN EXISTS (SELECT FROM policy_reports r
    WHERE r.policy = policy_revisions.sha256 AND r.kind = 'impact' AND r.passed) THEN 'simulated'
  WHEN EXISTS (SELECT FROM policy_reports r
    WHERE r.policy = policy_revisions.sha256 AND r.kind = 'checks' AND r.passed) THEN 'tested'
  ELSE 'draft'
END
""").label("state")
PLAN = ("starts_at", "organizations", "percent", "halt_after")


async def store(change: Change, sha256: str, files: Mapping[str, str], reason: str | None = None) -> None:
    """Keep a revision that is not in force. The caller has built it before. `Conflict` if it is on record."""
    parent = (await in_force(change.connection))["policy_sha256"]
    row = insert(policy_revisions).values(
        sha256=sha256, files=dict(files), author=change.actor, reason=reason, parent=parent
    )
    row = row.on_conflict_do_nothing(index_elements=["sha256"])
    new = await change.connection.execute(row.returning(policy_revisions.c.number))
    if new.scalar_one_or_none() is None:
        raise Conflict("this policy is on record already: activate it")
    change.details |= {"sha256": sha256}


async def activate(change: Change, sha256: str, files: Mapping[str, str]) -> int:
    """Store the revision if it is new and put it in force; its number. The caller has built it before."""
    row = insert(policy_revisions).values(sha256=sha256, files=dict(files))
    await change.connection.execute(row.on_conflict_do_nothing(index_elements=["sha256"]))
    return await put_in_force(change, sha256)


async def put_in_force(change: Change, sha256: str) -> int:
    """A revision that is on record; its number. `NotFound`."""
    after = await number(change.connection, sha256)
    await rollouts.supersede(change)
    before = (await change.connection.execute(select(programme.c.policy_revision))).scalar_one()
    await change.connection.execute(update(programme).values(policy_revision=after))
    change.details |= {"before": before, "after": after, "sha256": sha256}
    return after


async def number(connection: AsyncConnection, sha256: str) -> int:
    """Of a revision that is on record. `NotFound`."""
    revisions = policy_revisions.c
    found = await connection.execute(select(revisions.number).where(revisions.sha256 == sha256))
    known: int | None = found.scalar_one_or_none()
    if known is None:
        raise NotFound("no such policy")
    return known


# --- activation -----------------------------------------------------------------------------------------------


def require_ahead(plan: Mapping[str, Any], now: datetime) -> None:
    """`Invalid` if it would start before it can be approved."""
    if "starts_at" in plan and datetime.fromisoformat(plan["starts_at"]) <= now:
        raise Invalid("starts_at: is over: give a time to come, or leave it out", code="POLICY_CHANGE_WINDOW")


async def carry_out(change: Change, sha256: str, members: Mapping[str, Any], now: datetime) -> None:
    """What was approved: at once and for all, or by a rollout. `NotFound`."""
    plan = {name: members[name] for name in PLAN if name in members}
    if not is_rollout(plan):
        await put_in_force(change, sha256)
        return
    change.details |= {"sha256": sha256}
    await rollouts.start(
        change, await number(change.connection, sha256), {"percent": 100, "starts_at": timestamp(now), **plan}
    )


def is_rollout(plan: Mapping[str, Any]) -> bool:
    """Whether it is for some only, or later."""
    return "starts_at" in plan or is_staged(plan)


def is_staged(plan: Mapping[str, Any]) -> bool:
    """Whether it is for some only."""
    return "organizations" in plan or plan.get("percent", rollouts.WHOLE) != rollouts.WHOLE


async def standing(connection: AsyncConnection) -> Standing:
    """What is in force now."""
    row = await in_force(connection)
    return Standing(row["policy_sha256"], row["data_set"])


async def watch(change: Change, sha256: str, now: datetime) -> dict[str, Any]:
    """Have it judged beside the policy in force, without deciding anything. `Conflict` while there is a rollout."""
    if await rollouts.open_one(change.connection) is not None:
        raise Conflict("another policy is being rolled out or watched: end that first")
    plan = {"percent": 0, "starts_at": timestamp(now)}
    return await rollouts.read(
        change.connection, await rollouts.start(change, await number(change.connection, sha256), plan)
    )


# --- reading --------------------------------------------------------------------------------------------------


async def page(
    connection: AsyncConnection, after: int = 0, limit: int = 1, only: str | None = None
) -> list[dict[str, Any]]:
    """Revisions in the order in which they were stored, or `only` the one of this SHA-256."""
    revisions = policy_revisions.c
    shown = ("number", "sha256", "created_at", "author", "reason", "parent")
    which = revisions.number > after if only is None else revisions.sha256 == only
    query = select(*(revisions[name] for name in shown), STATE).where(which)
    found = await connection.execute(query.order_by(revisions.number).limit(limit))
    return [
        {
            "id": row.sha256,
            "number": row.number,
            "created_at": timestamp(row.created_at),
            "author": row.author,
            "reason": row.reason,
            "parent": row.parent,
            "state": row.state,
            "in_force": row.state == PolicyState.ACTIVE,
        }
        for row in found
    ]


async def read(connection: AsyncConnection, sha256: str) -> dict[str, Any]:
    """One, with its files, and how they differ from those of its parent. `NotFound`."""
    found = await page(connection, only=sha256)
    if not found:
        raise NotFound("no such policy")
    these = select(policy_revisions.c.sha256, policy_revisions.c.files)
    rows = await connection.execute(these.where(policy_revisions.c.sha256.in_({sha256, found[0]["parent"]})))
    files = {row.sha256: row.files for row in rows}
    before = files.get(found[0]["parent"])
    return {**found[0], "files": files[sha256], "diff": {} if before is None else _diff(before, files[sha256])}


def _diff(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Of each file that differs the lines of a unified diff without context."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    lines = {name: (before.get(name, "").splitlines(), after.get(name, "").splitlines()) for name in names}
    return {name: [*unified_diff(*both, n=0, lineterm="")][2:] for name, both in lines.items()}


async def files(connection: AsyncConnection, number: int) -> dict[str, str]:
    """Of the revision of this number, which is on record."""
    these = select(policy_revisions.c.files).where(policy_revisions.c.number == number)
    return dict((await connection.execute(these)).scalar_one())


IN_FORCE = text(
    "SELECT p.policy_revision, v.sha256 AS policy_sha256, p.data_set_id AS data_set, d.version AS data_set_version,"
    " (SELECT jsonb_build_object('policy', w.sha256, 'percent', r.percent, 'organizations', r.organizations)"
    " FROM rollouts r JOIN policy_revisions w ON w.number = r.policy_revision WHERE r.ended_at IS NULL) AS rollout,"
    " d.reviewed_at AS data_set_reviewed_at, (SELECT count(*) FROM stops WHERE lifted_at IS NULL) AS stops, p.demo"
    " FROM programme p LEFT JOIN policy_revisions v ON v.number = p.policy_revision"
    " LEFT JOIN data_sets d ON d.id = p.data_set_id"
)


async def in_force(connection: AsyncConnection) -> dict[str, Any]:
    row = (await connection.execute(IN_FORCE)).mappings().one()
    reviewed = row["data_set_reviewed_at"]
    return {**row, "data_set_reviewed_at": reviewed and timestamp(reviewed)}
