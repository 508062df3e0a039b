"""Policy revisions: stored by content hash, immutable; activating flips which one is in force."""

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

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
