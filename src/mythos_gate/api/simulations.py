"""Simulations over REST: what a policy, a data set, a directive or a grant would change, before it is signed."""

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import db
from mythos_gate.analysis import child
from mythos_gate.api import body
from mythos_gate.api.deps import Gate, MayAdminister, MayReadProgramme, MayRunProgramme, TheGate, read_only, reading
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.db import DbRole
from mythos_gate.errors import Invalid, NotFound
from mythos_gate.registry import drafting, jurisdictions, policies, policy_reports, resources
from mythos_gate.registry.change import Registry
from mythos_gate.registry.directives import DIRECTIVES
from mythos_gate.registry.grants import GRANTS
from mythos_gate.registry.policy_reports import Needs, Report, Standing
from mythos_gate.registry.resources import BY_NAME
from mythos_gate.registry.switches import SWITCHES
from mythos_gate.settings import Settings
from mythos_gate.terms import ReportKind

# They are of what is on record then, so made anew each time; and no transaction waits as long as they take.
router = APIRouter(prefix="/v1/simulations", tags=["policies"])
Members = dict[str, JsonValue]


class Draft(BaseModel):
    """Any of these, or a bundle; members are as the records themselves have them.

    `policy`, `data_set`: on record; `directives`: new ones; `amended`: those on record, `grants`, `switches`: by ids.
    """

    model_config = ConfigDict(extra="forbid")
    policy: Text | None = None
    data_set: Text | None = None
    directives: Annotated[list[Members], Field(max_length=100)] = []
    amended: Annotated[dict[Text, Members], Field(max_length=1000)] = {}
    grants: Annotated[dict[Text, Members], Field(max_length=1000)] = {}
    switches: Annotated[dict[Text, Members], Field(max_length=100)] = {}

    def members(self, now: datetime) -> dict[str, Any]:
        """What it says beside the policy, in the form that reports are found by. `Invalid`."""
        said = {
            "data_set": self.data_set,
            "directives": [drafting.order(each, now) for each in self.directives],
            "amended": {name: drafting.terms(DIRECTIVES, each, now) for name, each in self.amended.items()},
            "grants": {name: drafting.terms(GRANTS, each, now) for name, each in self.grants.items()},
            "switches": {name: drafting.terms(SWITCHES, each, now) for name, each in self.switches.items()},
        }
        return {name: value for name, value in said.items() if value}


@router.post("", status_code=201, openapi_extra=body.documented(Draft))
async def simulate(request: Request, gate: TheGate, caller: MayAdminister, response: Response) -> dict[str, Any]:
    """Ask the standing requests of everybody on record, as things stand and as they would be; kept for a day's use.

    Nothing is changed. What the report says of people is read by compliance alone.
    """
    given = body.shaped(Draft, await body.parsed(request))
    draft = policy_reports.Draft(given.policy, given.members(gate.now))
    if not draft.told:
        raise Invalid("the draft changes nothing: give policy, data_set, directives, amended, grants or switches")
    return await simulated(request, gate, caller, draft, response)


async def simulated(
    request: Request, gate: Gate, caller: Caller, draft: policy_reports.Draft, response: Response
) -> dict[str, Any]:
    """The report. `NotFound` for what is not on record."""
    async with read_only(gate) as connection:
        asked = await _asked(connection, draft, caller)
    url = db.role_url(gate.settings, DbRole.COMPLIANCE)
    async with gate.simulating:
        found = await child.run("impact", url=url, **asked)
    figures, apart = found["figures"], found["apart"]
    needs = _needs(gate.settings, figures["paths"], len(apart["acknowledge"]))
    report = Report(ReportKind.IMPACT, passed=True, figures=figures, apart=apart, needs=needs)
    # What it says of people is kept as compliance's, whoever asked.
    registry: Registry = request.app.state.gate.registry
    async with registry.change("simulated", caller.id) as change:
        made = await policy_reports.keep(change, draft, report, Standing(found["policy"], found["data_set"]))
    response.headers["Location"] = f"/v1/simulations/{made['id']}"
    return made


async def _asked(connection: AsyncConnection, draft: policy_reports.Draft, caller: Caller) -> dict[str, Any]:
    members = draft.members
    if "data_set" in members:
        await jurisdictions.require(connection, members["data_set"])
    for grant in members.get("grants", {}):
        await resources.read(connection, BY_NAME[GRANTS.name], grant, caller)
    directives = [await drafting.ordered(connection, each) for each in members.get("directives", ())]
    for identifier, each in members.get("amended", {}).items():
        directives.append(await drafting.amended(connection, identifier, each, caller))
    switches = [
        await drafting.switched(connection, identifier, each, caller)
        for identifier, each in members.get("switches", {}).items()
    ]
    files = {} if draft.policy is None else {"files": (await policies.read(connection, draft.policy))["files"]}
    return {
        "data_set": members.get("data_set"),
        "grants": members.get("grants", {}),
        "directives": directives,
        "switches": switches,
        **files,
    }


def _needs(settings: Settings, paths: Mapping[str, int], acknowledge: int) -> Needs:
    ratio = paths["ratio_thousandths"] / 1000
    return Needs(
        approvals=2 if ratio > settings.approval_ratio or paths["gained"] > settings.approval_paths else 1,
        acknowledge=acknowledge,
        is_staged=ratio > settings.stage_ratio,
    )


@router.get("")
async def list_simulations(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: Instant | None = None,
) -> dict[str, Any]:
    """The newest first."""
    async with read_only(gate) as connection:
        found = await policy_reports.simulations(connection, cursor, limit + 1)
    return paged(found, limit, itemgetter("created_at"))


@router.get("/{report}")
async def read_simulation(report: Name, gate: TheGate, caller: MayRunProgramme) -> dict[str, Any]:
    """One with the people whom it names, for compliance alone; the log tells who read it."""
    return await told(gate, caller, report)


async def told(gate: Gate, caller: Caller, report: str, policy: str | None = None) -> dict[str, Any]:
    """A report with what is kept apart; with `policy` of that one. `NotFound`."""
    async with reading(gate.registry.engine) as connection:
        found = await policy_reports.read(connection, report)
        apart = await policy_reports.apart(connection, report)
    if policy not in {None, found["policy"]}:
        raise NotFound("no such report")
    await gate.log.note("policy_report_read", {"actor": caller.id, "report": report})
    return {**found, "apart": apart}
