"""Screenings over REST: a provider's results for people and organizations, one or many."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mythos_gate.api import body
from mythos_gate.api.deps import MayScreen, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested, writer
from mythos_gate.api.text import Text
from mythos_gate.registry import callers, columns, resources, screenings
from mythos_gate.registry.screenings import RECORDING, SCREENINGS
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction, ScreeningStatus

router = APIRouter(prefix="/v1", tags=["screenings"], route_class=Once)
ITEM = {name: columns.schema(column.parse) for name, column in SCREENINGS.columns.items()}


class Results(BaseModel):
    """An item without a person is the organization's own. All are taken, or none."""

    model_config = ConfigDict(extra="forbid")
    items: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=1000, json_schema_extra={"items": {"type": "object", "properties": ITEM}}),
    ]


class Taken(BaseModel):
    """How many results were new, different, or as they were."""

    created: int
    updated: int
    unchanged: int


@router.post("/screenings", openapi_extra=body.documented(Results))
async def record_screenings(request: Request, gate: TheGate, caller: MayScreen) -> Taken:
    """Record what a provider found; the next decision rests on it."""
    wanted = body.shaped(Results, await body.parsed(request))
    async with gate.registry.change("screenings_recorded", caller.id) as change:
        screenings.refuse_own(wanted.items, caller)
        done = await resources.take_all(change, RECORDING, wanted.items, gate.now)
    return Taken(created=done.created, updated=done.updated, unchanged=done.unchanged)


@router.get("/screenings")
async def list_screenings(
    gate: TheGate,
    caller: MayScreen,  # noqa: ARG001  the signature says who may call
    organization: Text | None = None,
    person: Text | None = None,
    status: ScreeningStatus | None = None,
    older_than: Annotated[int | None, Query(ge=0, le=87_600, description="hours")] = None,
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """Results by name. Decisions take a clear one as stale after 48 hours: `older_than=48` are those to renew."""
    async with read_only(gate) as connection:
        found = await screenings.page(
            connection,
            organization=organization,
            person=person,
            status=status,
            before=None if older_than is None else gate.now - timedelta(hours=older_than),
            after=cursor,
            limit=limit + 1,
        )
    shown = ("organization", "person", "status", "screened_at", "list_version")
    return paged(found, limit, lambda row: row["place"], lambda row: {name: row[name] for name in shown})


class Verdict(StrEnum):
    FALSE_POSITIVE = "false_positive"
    TRUE_MATCH = "true_match"


class Adjudication(BaseModel):
    """What a hit was; without a person, the organization's own."""

    model_config = ConfigDict(extra="forbid")
    organization: Text
    person: Text | None = None
    status: Verdict


@router.post("/screenings/adjudicate", openapi_extra=body.documented(Adjudication))
async def adjudicate_screening(
    request: Request, gate: TheGate, caller: MayScreen, response: Response
) -> Mapping[str, Any]:
    """A match takes access away at once (200); that it is none is requested (202): a second adjudicator approves."""
    callers.require_on_record(caller)
    members = body.shaped(Adjudication, await body.parsed(request)).model_dump(mode="json")
    if members["status"] == Verdict.FALSE_POSITIVE:
        return await requested(
            gate, caller, Wanted(RequestedAction.ADJUDICATE, "screenings", members=members), response
        )
    async with gate.registry.change("screening_adjudicated", caller.id) as change:
        await screenings.adjudicate(change, members, "*", writer(gate, caller))
    return members
