"""Reports about drafts: whether a policy is sound, and whom a draft would concern; permanent, named by their hash."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, insert, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import NotFound, NotPermitted
from mythos_gate.registry import policy_cases
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
class Draft:
    """What would be different: the policy, by its SHA-256, and `members`, as `drafting` has them."""

    policy: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """As it is asked to be simulated."""
        return ({"policy": self.policy} if self.policy else {}) | dict(self.members)


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


async def keep(change: Change, draft: Draft, report: Report, standing: Standing) -> dict[str, Any]:
    identifier, about = f"rep_{uuid.uuid4().hex}", {"policy": draft.policy, "kind": report.kind}
    said = about | {"figures": report.figures, "apart": report.apart} | asdict(standing)
    digest = sha256(orjson.dumps(said | {"draft": draft.members}, option=orjson.OPT_SORT_KEYS)).hexdigest()
    row = {
        "id": identifier,
        **about,
        "draft": dict(draft.members),
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
    change.details |= {**about, "report": identifier, "report_sha256": digest}
    if draft.members:
        change.details |= {"draft": sorted(draft.members)}
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
    """Of a policy, the newest first."""
    return await _newest(connection, reports.c.policy == policy)


async def simulations(connection: AsyncConnection, after: datetime | None, limit: int) -> list[dict[str, Any]]:
    """Of any draft, the newest first, made before the given one."""
    these = (reports.c.kind == ReportKind.IMPACT, true() if after is None else reports.c.created_at < after)
    return await _newest(connection, *these, limit=limit)


async def _newest(
    connection: AsyncConnection, *these: ColumnElement[bool], limit: int | None = None
) -> list[dict[str, Any]]:
    query = select(reports).where(*these).order_by(reports.c.created_at.desc(), reports.c.id).limit(limit)
    return [_shown(row) for row in await connection.execute(query)]


async def fresh(connection: AsyncConnection, draft: Draft, standing: Standing, now: datetime) -> Row[Any]:
    """The newest simulation of exactly this draft, if it still holds; a policy was checked too. `NotPermitted`."""
    await require_checked(connection, draft)
    found = await _latest(connection, draft, ReportKind.IMPACT, "simulated")
    _require_fresh(found, standing, now)
    return found


async def require_checked(connection: AsyncConnection, draft: Draft) -> None:
    """`NotPermitted` unless its policy, if any, passed its last check, and that ran all policy cases that stand."""
    if draft.policy is None:
        return
    checked = await _latest(connection, Draft(draft.policy), ReportKind.CHECKS, "checked")
    # By what it ran, not by when: a case may have been added while it was under way.
    ran = checked.figures.get("added", {}).values()
    if missing := await policy_cases.unchecked(connection, list(ran)):
        names = ", ".join(map(repr, missing))
        what = f"policy cases were added since this was checked ({names}): check it again"
        raise NotPermitted(what, code=NOT_SIMULATED)


async def _latest(connection: AsyncConnection, draft: Draft, kind: ReportKind, done: str) -> Row[Any]:
    """The newest of a kind, which passed. `NotPermitted`."""
    these = (reports.c.policy.is_not_distinct_from(draft.policy), reports.c.draft == dict(draft.members))
    query = select(reports).where(*these, reports.c.kind == kind).order_by(reports.c.created_at.desc()).limit(1)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        ask = "" if kind == ReportKind.CHECKS else f": POST /v1/simulations {orjson.dumps(draft.told).decode()}"
        raise NotPermitted(f"this change has not been {done}{ask}", code=NOT_SIMULATED)
    if not found.passed:
        raise NotPermitted(f"this change was {done}, and must not be put in force", code=NOT_SIMULATED)
    return found


async def require_fresh(connection: AsyncConnection, identifier: str, standing: Standing, now: datetime) -> None:
    """`NotPermitted` if this report holds no more."""
    row = (await connection.execute(select(reports).where(reports.c.id == identifier))).one()
    _require_fresh(row, standing, now)


def _require_fresh(row: Row[Any], standing: Standing, now: datetime) -> None:
    if row.created_at < now - FRESH:
        raise NotPermitted("this change was simulated more than 24 hours ago: do it again", code=NOT_SIMULATED)
    if Standing(row.base, row.data_set) != standing:
        what = "another policy or data set was in force when this change was simulated: do it again"
        raise NotPermitted(what, code=NOT_SIMULATED)


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {**row._asdict(), "created_at": timestamp(row.created_at)}
