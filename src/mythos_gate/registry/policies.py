"""Policy revisions: stored by content hash, immutable; activating flips which one is in force."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Conflict, NotFound
from mythos_gate.registry.change import Change
from mythos_gate.tables import policy_revisions, programme


async def store(change: Change, sha256: str, files: Mapping[str, str]) -> None:
    """Keep a revision that is not in force. The caller has built it before. `Conflict` if it is on record."""
    row = insert(policy_revisions).values(sha256=sha256, files=dict(files))
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
    revisions = policy_revisions.c
    found = await change.connection.execute(select(revisions.number).where(revisions.sha256 == sha256))
    number = found.scalar_one_or_none()
    if number is None:
        raise NotFound("no such policy")
    before = (await change.connection.execute(select(programme.c.policy_revision))).scalar_one()
    await change.connection.execute(update(programme).values(policy_revision=number))
    change.details |= {"before": before, "after": number, "sha256": sha256}
    return int(number)


async def page(
    connection: AsyncConnection, after: int = 0, limit: int = 1, only: str | None = None
) -> list[dict[str, Any]]:
    """Revisions in the order in which they were stored, or `only` the one of this SHA-256."""
    revisions = policy_revisions.c
    active = select(programme.c.policy_revision).scalar_subquery()
    shown = (revisions.number, revisions.sha256, revisions.created_at, (revisions.number == active).label("active"))
    query = select(*shown).where(revisions.number > after if only is None else revisions.sha256 == only)
    found = await connection.execute(query.order_by(revisions.number).limit(limit))
    return [
        {
            "id": row.sha256,
            "number": row.number,
            "created_at": timestamp(row.created_at),
            "in_force": bool(row.active),
        }
        for row in found
    ]


async def read(connection: AsyncConnection, sha256: str) -> dict[str, Any]:
    """One, with its files. `NotFound`."""
    found = await page(connection, only=sha256)
    if not found:
        raise NotFound("no such policy")
    files = select(policy_revisions.c.files).where(policy_revisions.c.sha256 == sha256)
    return {**found[0], "files": (await connection.execute(files)).scalar_one()}


IN_FORCE = text(
    "SELECT p.policy_revision, v.sha256 AS policy_sha256, p.data_set_id AS data_set, d.version AS data_set_version,"
    " d.reviewed_at AS data_set_reviewed_at, (SELECT count(*) FROM stops WHERE lifted_at IS NULL) AS stops, p.demo"
    " FROM programme p LEFT JOIN policy_revisions v ON v.number = p.policy_revision"
    " LEFT JOIN data_sets d ON d.id = p.data_set_id"
)


async def in_force(connection: AsyncConnection) -> dict[str, Any]:
    row = (await connection.execute(IN_FORCE)).mappings().one()
    reviewed = row["data_set_reviewed_at"]
    return {**row, "data_set_reviewed_at": reviewed and timestamp(reviewed)}
