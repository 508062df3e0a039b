"""Health: alive, and ready to decide."""

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from mythos_gate.api.deps import TheGate
from mythos_gate.errors import NotDecided

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ready")
async def ready(gate: TheGate) -> dict[str, str]:
    """503 unless a decision could be made and recorded, for this month and the next."""
    await gate.pdp.require_ready()
    try:
        async with gate.claims.engine.connect() as connection:  # not of those that a kill switch waits for
            partitions = (await connection.execute(select(func.log_partitions_ahead()))).scalar_one()
    except (SQLAlchemyError, OSError) as error:
        raise NotDecided("the database does not answer") from error
    if partitions < 2:
        raise NotDecided("the log has no partition for the next month")
    return {"status": "ready"}
