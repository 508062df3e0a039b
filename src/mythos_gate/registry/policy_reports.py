"""Reports about policies: whether a revision is sound, and whom it would concern; permanent, named by their hash."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import NotFound, NotPermitted
from mythos_gate.registry.change import Change
from mythos_gate.tables import policy_report_contents as contents
from mythos_gate.tables import policy_reports as reports
from mythos_gate.terms import ReportKind

FRESH = timedelta(hours=24)
NOT_SIMULATED = "POLICY_CHANGE_NOT_SIMULATED"


@dataclass(frozen=True, slots=True)
class Needs:
    """What an activation asks of the officers.

    `approvals` besides the request; with more than one, one of them is by an officer of another authority.
    `acknowledge`: so many newly allowed people by name, of countries that ask for it. `is_staged`: for some at first.
    """

    approvals: int = 1
    acknowledge: int = 0
    is_staged: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What a report holds for: what was in force when it was made."""

    base: str | None
    data_set: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """`apart`: what it says of people, for compliance alone."""

    kind: ReportKind
    passed: bool
    figures: Mapping[str, Any]
    apart: Mapping[str, Any] = field(default_factory=dict)
    needs: Needs = Needs()


async def keep(change: Change, policy: str, report: Report, standing: Standing) -> dict[str, Any]:
    identifier = f"rep_{uuid.uuid4().hex}"
    said = {"policy": policy, "kind": report.kind, "figures": report.figures, "apart": report.apart}
    digest = sha256(orjson.dumps(said | asdict(standing), option=orjson.OPT_SORT_KEYS)).hexdigest()
    row = {
        "id": identifier,
        "policy": policy,
        "kind": report.kind,
        **asdict(standing),
        "passed": report.passed,
        "needs": asdict(report.needs),
        "figures": dict(report.figures),
        "sha256": digest,
        "made_by": change.actor,
    }
    await change.connection.execute(insert(reports).values(row))
    if report.apart:
        await change.connection.execute(insert(contents).values(report_id=identifier, members=dict(report.apart)))
    change.details |= {"report": identifier, "policy": policy, "kind": report.kind, "report_sha256": digest}
    return await read(change.connection, identifier)


async def read(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """Without what is kept apart. `NotFound`."""
    row = (await connection.execute(select(reports).where(reports.c.id == identifier))).one_or_none()
    if row is None:
        raise NotFound("no such report")
    return _shown(row)


async def apart(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """What compliance alone reads."""
    query = select(contents.c.members).where(contents.c.report_id == identifier)
    found: dict[str, Any] | None = (await connection.execute(query)).scalar_one_or_none()
    return found or {}


async def about(connection: AsyncConnection, policy: str) -> list[dict[str, Any]]:
    """The newest first."""
    query = select(reports).where(reports.c.policy == policy).order_by(reports.c.created_at.desc(), reports.c.id)
    return [_shown(row) for row in await connection.execute(query)]


async def fresh(connection: AsyncConnection, policy: str, standing: Standing, now: datetime) -> Row[Any]:
    """The newest report of its impact on those who are on record, if it still holds. `NotPermitted`."""
    found = None
    for kind, what in ((ReportKind.CHECKS, "checked"), (ReportKind.IMPACT, "simulated")):
        these = (reports.c.policy == policy, reports.c.kind == kind)
        query = select(reports).where(*these).order_by(reports.c.created_at.desc()).limit(1)
        found = (await connection.execute(query)).one_or_none()
        if found is None:
            raise NotPermitted(f"this revision has not been {what}", code=NOT_SIMULATED)
        if not found.passed:
            raise NotPermitted(f"this revision was {what}, and must not be put in force", code=NOT_SIMULATED)
    assert found is not None
    _require_fresh(found, standing, now)
    return found


async def require_fresh(connection: AsyncConnection, identifier: str, standing: Standing, now: datetime) -> None:
    """`NotPermitted` if this report holds no more."""
    row = (await connection.execute(select(reports).where(reports.c.id == identifier))).one()
    _require_fresh(row, standing, now)


def _require_fresh(row: Row[Any], standing: Standing, now: datetime) -> None:
    if row.created_at < now - FRESH:
        raise NotPermitted("this revision was simulated more than 24 hours ago: do it again", code=NOT_SIMULATED)
    if Standing(row.base, row.data_set) != standing:
        what = "another policy or data set was in force when this revision was simulated: do it again"
        raise NotPermitted(what, code=NOT_SIMULATED)


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {**row._asdict(), "created_at": timestamp(row.created_at)}
