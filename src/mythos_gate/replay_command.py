"""`mythos-gate log replay`: decide again what was decided, and record that it was done."""

from datetime import datetime

from mythos_gate import db
from mythos_gate.analysis import replay
from mythos_gate.analysis.replay import Progress, Replayed
from mythos_gate.audit.entry import timestamp
from mythos_gate.audit.log import FAR, LONG_AGO
from mythos_gate.db import DbRole
from mythos_gate.export_command import caller_of, writing
from mythos_gate.settings import Settings


async def run(
    settings: Settings, key: str, since: datetime | None, until: datetime | None, progress: Progress
) -> Replayed:
    """What was decided in [since, until). The log has it before it is told."""
    urls = db.role_urls(settings)
    caller = await caller_of(settings, urls[DbRole.COMPLIANCE], key)
    connection = await db.connect(urls[DbRole.READER], DbRole.READER)
    try:
        replayed = await replay.replay(connection, since or LONG_AGO, until or FAR, progress)
    finally:
        await connection.close()
    told = {"actor": caller.id, "decisions": replayed.decisions, "differing": len(replayed.findings)}
    async with writing(settings, urls[DbRole.SERVICE]) as log:
        await log.note("replayed", {**told, "since": _written(since), "until": _written(until)})
    return replayed


def _written(time: datetime | None) -> str | None:
    return None if time is None else timestamp(time)
