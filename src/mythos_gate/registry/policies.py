"""Policy revisions: stored by content hash, immutable; activating flips which one is in force."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.registry.change import Change
from mythos_gate.tables import policy_revisions, programme


async def activate(change: Change, sha256: str, files: Mapping[str, str]) -> int:
    """Store the revision if it is new and put it in force; its number. The caller has built it before."""
    row = insert(policy_revisions).values(sha256=sha256, files=dict(files))
    await change.connection.execute(row.on_conflict_do_nothing(index_elements=["sha256"]))
    number = (
        await change.connection.execute(select(policy_revisions.c.number).where(policy_revisions.c.sha256 == sha256))
    ).scalar_one()
    before = (await change.connection.execute(select(programme.c.policy_revision))).scalar_one()
    await change.connection.execute(update(programme).values(policy_revision=number))
    change.details |= {"before": before, "after": number, "sha256": sha256}
    return int(number)


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
