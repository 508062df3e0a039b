"""Erasure: of a person whose records need not be kept any more, nothing is left but the gate's id."""

from datetime import datetime

from sqlalchemy import text

from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict
from mythos_gate.registry import holds, seats, standing
from mythos_gate.registry.change import Change
from mythos_gate.registry.shown import Shown
from mythos_gate.terms import RETENTION, PersonStatus, RequestedAction

HELD = "RETENTION_HOLD"
LOCK = text("SELECT FROM people WHERE id = :person FOR UPDATE")
LAST_CHANGE = text("SELECT last_change(:person) AS at")
LAST_DECISION = text("SELECT last_decision(:person, :since) AS at")
ERASE = text("SELECT erase_person(:person)")


async def erase(change: Change, found: Shown, now: datetime, caller: Caller) -> None:
    """For good: of the person nothing is read, written or allowed any more.

    `Conflict` with the legal basis while the records have to be kept: for ten years from the last decision about the
    person or an agent of theirs and from the last change of what is on record, and under a legal hold.
    """
    person = found.id
    if found.members["status"] == PersonStatus.ERASED:
        raise Conflict("the person was erased before: nothing further is possible")
    await _require_over(change, person, now)
    since = {"person": person, "since": now - RETENTION}
    # It takes long where the log is: before anything is locked.
    _require_past((await change.connection.execute(LAST_DECISION, since)).scalar_one(), now)
    if await holds.stands(change.connection, person):
        raise Conflict("a legal hold keeps the records of this person (15 CFR 762.6(b)): lift it first", code=HELD)
    await change.connection.execute(LOCK, {"person": person})
    await _require_over(change, person, now)
    for action in (RequestedAction.ACTIVATE, RequestedAction.REPLACE):
        await standing.withdraw(change, person, action, caller)
    await seats.release(change.connection, [person])
    await change.connection.execute(ERASE, {"person": person})
    change.details |= {"person": person}


async def _require_over(change: Change, person: str, now: datetime) -> None:
    _require_past((await change.connection.execute(LAST_CHANGE, {"person": person})).scalar_one(), now)


def _require_past(last: datetime | None, now: datetime) -> None:
    if last is not None and now < last + RETENTION:
        what = f"the records of this person are kept until {(last + RETENTION).date().isoformat()}"
        basis = "ten years from the last decision or change (31 CFR 501.601; 15 CFR 762.6 asks five)"
        raise Conflict(f"{what}: {basis}", code=HELD)
