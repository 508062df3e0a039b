"""Reports about policies over REST: whether a revision is sound, and whom it would have concerned."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from mythos_gate import db
from mythos_gate.analysis import child
from mythos_gate.api import body
from mythos_gate.api.deps import Gate, MayActivatePolicy, MayReadProgramme, MayRunProgramme, TheGate, read_only
from mythos_gate.api.simulations import simulated, told
from mythos_gate.api.text import Instant, Name
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.registry import policies, policy_cases, policy_reports
from mythos_gate.registry.policy_reports import Draft, Report, Standing
from mythos_gate.terms import ReportKind

# They are of what is on record then, so made anew each time; and no transaction waits as long as they take.
router = APIRouter(prefix="/v1/policies", tags=["policies"])


@router.post("/{identifier}/simulations", status_code=201)
async def simulate_policy(
    identifier: Name, request: Request, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """As `POST /v1/simulations` with this revision alone."""
    return await simulated(request, gate, caller, Draft(identifier), response)


@router.post("/{identifier}/checks", status_code=201)
async def check_policy(
    identifier: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Look for rows that do nothing, run the policy cases, prove what must never be allowed."""
    async with read_only(gate) as connection:
        files, standing = (await policies.read(connection, identifier))["files"], await policies.standing(connection)
        added = await policy_cases.standing(connection)
    async with gate.simulating:
        figures = await child.run("checks", files=files, added={each.name: each.content for each in added})
    figures |= {"added": {each.name: each.sha256 for each in added}}
    report = Report(ReportKind.CHECKS, passed=figures["passed"], figures=figures)
    return await _kept(gate, caller, identifier, report, standing, response)


class Period(BaseModel):
    """`since <= t < until`; without a bound all on that side."""

    model_config = ConfigDict(extra="forbid")
    since: Instant | None = None
    until: Instant | None = None


@router.post("/{identifier}/replays", status_code=201, openapi_extra=body.documented(Period, required=False))
async def replay_traffic(
    identifier: Name, request: Request, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Decide again by this revision what was decided in a period: how many answers would be others, whose, when."""
    period = body.shaped(Period, await body.parsed(request)) if await request.body() else Period()
    async with read_only(gate) as connection:
        files, standing = (await policies.read(connection, identifier))["files"], await policies.standing(connection)
    asked = {name: value and timestamp(value) for name, value in period}
    async with gate.simulating:
        found = await child.run("traffic", url=db.role_url(gate.settings, DbRole.READER), files=files, **asked)
    report = Report(ReportKind.TRAFFIC, passed=True, figures=found["figures"], apart=found["apart"])
    return await _kept(gate, caller, identifier, report, standing, response)


async def _kept(
    gate: Gate, caller: Caller, policy: str, report: Report, standing: Standing, response: Response
) -> dict[str, Any]:
    async with gate.registry.change("policy_reported", caller.id) as change:
        made = await policy_reports.keep(change, Draft(policy), report, standing)
    response.headers["Location"] = f"/v1/policies/{policy}/reports/{made['id']}"
    return made


@router.get("/{identifier}/reports/{report}")
async def read_report(identifier: Name, report: Name, gate: TheGate, caller: MayRunProgramme) -> dict[str, Any]:
    """One with the people whom it names, for compliance alone; the log tells who read it."""
    return await told(gate, caller, report, identifier)


@router.get("/{identifier}/reports")
async def list_reports(
    identifier: Name,
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """What was found out about a revision, the newest first."""
    async with read_only(gate) as connection:
        return {"items": await policy_reports.about(connection, identifier)}
