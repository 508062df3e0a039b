"""Reports about policies over REST: whether a revision is sound, and whom it would concern."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from mythos_gate import db
from mythos_gate.analysis import child
from mythos_gate.api.deps import Gate, MayActivatePolicy, MayReadProgramme, MayRunProgramme, TheGate, read_only, reading
from mythos_gate.api.text import Name
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.errors import NotFound
from mythos_gate.registry import policies, policy_reports
from mythos_gate.registry.policy_reports import Needs, Report, Standing
from mythos_gate.settings import Settings
from mythos_gate.terms import ReportKind

# They are of what is on record then, so made anew each time; and no transaction waits as long as they take.
router = APIRouter(prefix="/v1/policies", tags=["policies"])


@router.post("/{identifier}/simulations", status_code=201)
async def simulate_policy(
    identifier: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Ask the standing requests of everybody on record, as things stand and by this revision; kept for a day's use."""
    async with read_only(gate) as connection:
        files = (await policies.read(connection, identifier))["files"]
    url = db.role_url(gate.settings, DbRole.COMPLIANCE)
    async with gate.simulating:
        found = await child.run("impact", url=url, files=files)
    figures, apart = found["figures"], found["apart"]
    needs = _needs(gate.settings, figures["paths"], len(apart["acknowledge"]))
    report = Report(ReportKind.IMPACT, passed=True, figures=figures, apart=apart, needs=needs)
    return await _kept(gate, caller, identifier, report, Standing(found["policy"], found["data_set"]), response)


@router.post("/{identifier}/checks", status_code=201)
async def check_policy(
    identifier: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Look for rows that do nothing, run the policy cases, prove what must never be allowed."""
    async with read_only(gate) as connection:
        files, standing = (await policies.read(connection, identifier))["files"], await policies.standing(connection)
    async with gate.simulating:
        figures = await child.run("checks", files=files)
    report = Report(ReportKind.CHECKS, passed=figures["passed"], figures=figures)
    return await _kept(gate, caller, identifier, report, standing, response)


async def _kept(
    gate: Gate, caller: Caller, policy: str, report: Report, standing: Standing, response: Response
) -> dict[str, Any]:
    async with gate.registry.change("policy_reported", caller.id) as change:
        made = await policy_reports.keep(change, policy, report, standing)
    response.headers["Location"] = f"/v1/policies/{policy}/reports/{made['id']}"
    return made


def _needs(settings: Settings, paths: Mapping[str, int], acknowledge: int) -> Needs:
    ratio = paths["ratio_thousandths"] / 1000
    return Needs(
        approvals=2 if ratio > settings.approval_ratio or paths["gained"] > settings.approval_paths else 1,
        acknowledge=acknowledge,
        is_staged=ratio > settings.stage_ratio,
    )


@router.get("/{identifier}/reports/{report}")
async def read_report(identifier: Name, report: Name, gate: TheGate, caller: MayRunProgramme) -> dict[str, Any]:
    """One with the people whom it names, for compliance alone; the log tells who read it."""
    async with reading(gate.registry.engine) as connection:
        found = await policy_reports.read(connection, report)
        apart = await policy_reports.apart(connection, report)
    if found["policy"] != identifier:
        raise NotFound("no such report")
    await gate.log.note("policy_report_read", {"actor": caller.id, "report": report})
    return {**found, "apart": apart}


@router.get("/{identifier}/reports")
async def list_reports(
    identifier: Name,
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """What was found out about a revision, the newest first."""
    async with read_only(gate) as connection:
        return {"items": await policy_reports.about(connection, identifier)}
