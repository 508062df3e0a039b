"""Health: alive, and ready to decide."""

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from mythos_gate.api.deps import TheGate
from mythos_gate.errors import NotDecided
from mythos_gate.tables import programme

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ready")
async def ready(gate: TheGate) -> dict[str, str]:
    """503 unless a decision could be made and recorded, for this month and the next."""
    try:
        async with gate.registry.engine.connect() as connection:
            partitions, revision = (
                await connection.execute(select(func.log_partitions_ahead(), programme.c.policy_revision))
            ).one()
    except (SQLAlchemyError, OSError) as error:
        raise NotDecided("the database does not answer") from error
    if not gate.pdp.can_record:
        raise NotDecided("the committer has stopped")
    if partitions < 2:
        raise NotDecided("the log has no partition for the next month")
    if revision is None:
        raise NotDecided("no policy is active")
    return {"status": "ready"}
