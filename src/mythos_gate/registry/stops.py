"""Stops: kill switches on everything, an authority or a model, and incident locks on the others."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import NotPermitted
from mythos_gate.registry.columns import flag, label, one_of, reference
from mythos_gate.registry.kind import After, Clock, Column, Findings, Kind, Part, Record, Row
from mythos_gate.registry.orders import Orders
from mythos_gate.terms import StopScope

# The table in which a scope's target is on record; for everything there is none.
TARGETS = {
    StopScope.AUTHORITY: "authorities",
    StopScope.MODEL: "models",
    StopScope.ORGANIZATION: "organizations",
    StopScope.PERSON: "people",
    StopScope.ENDPOINT: "endpoints",
}
LOCKS = frozenset({StopScope.ORGANIZATION, StopScope.PERSON, StopScope.ENDPOINT})


def _table(row: Row) -> str | None:
    return TARGETS.get(row.get("scope"))


def _lifted(value: str, clock: Clock) -> datetime | None:
    return clock.now if flag(value, clock) else None


def _stands(row: Row) -> bool:
    return row.get("lifted") is None


def _records(row: Row) -> list[Record]:
    scope = row.cells["scope"]
    target = {f"{each}_id": row.get("target") if each == scope else None for each in TARGETS}
    said = {"incident": row.cells["incident"]} if "incident" in row.cells else {}
    return [{"scope": scope, **target, **said, "lifted_at": row.get("lifted")}]


def _check(row: Row, __: Record | None, after: After) -> Findings:
    scope = row.cells["scope"]
    if (scope == StopScope.EVERYTHING) != (row.get("target") is None):
        what = "must be empty" if scope == StopScope.EVERYTHING else "must not be empty"
        yield "target", what, "name what is stopped; for the scope everything leave it empty"
    if scope in LOCKS and not all(stop["incident"] for stop in after["stops"]):
        yield "incident", "must not be empty", "an incident lock names its incident"


NAMED = (
    "SELECT s.id, s.scope, coalesce(a.slug, s.model_id, o.slug, po.slug || '/' || p.external_id,"
    " eo.slug || '/' || e.external_id) AS target, s.incident, s.created_at AS since, s.lifted_at"
    " FROM stops s"
    " LEFT JOIN authorities a ON a.id = s.authority_id LEFT JOIN organizations o ON o.id = s.organization_id"
    " LEFT JOIN people p ON p.id = s.person_id LEFT JOIN organizations po ON po.id = p.organization_id"
    " LEFT JOIN endpoints e ON e.id = s.endpoint_id LEFT JOIN organizations eo ON eo.id = e.organization_id"
)
ORDERS = Orders("stop", tables.stops, NAMED, about="incident")
# Whose a kill switch is: an authority's own, or that of a model's authority.
CONCERNED = text(
    "SELECT id FROM authorities WHERE :scope = 'authority' AND slug = :target"
    " UNION ALL SELECT authority_id FROM models WHERE :scope = 'model' AND id = :target"
)


async def permit(connection: AsyncConnection, scope: str, target: str | None, caller: Caller) -> None:
    """Any officer locks for an incident; a kill switch is of the authority concerned. `NotPermitted`."""
    if caller.authority_id is None or scope in LOCKS:
        return
    concerned = (await connection.execute(CONCERNED, {"scope": scope, "target": target})).scalar_one_or_none()
    if concerned != caller.authority_id:
        raise NotPermitted("target: this key may stop only its own authority and that authority's models")


STOPS = Kind(
    name="stops",
    columns={
        "scope": Column(one_of(StopScope), required=True),
        "target": Column(reference, to=_table),
        "incident": Column(label),
        "lifted": Column(_lifted, into="lifted_at"),
    },
    key=("scope", "target"),
    # Only stops that stand are looked at: one lifted is the past, and the next is a new one. Without the column
    # `lifted` a stop stands: a file must not leave lifted what it was meant to stop.
    parts=(
        Part(
            tables.stops,
            key=("scope", *(f"{each}_id" for each in TARGETS)),
            prefix="stp_",
            records=_records,
            among={"lifted_at": None},
            creates=_stands,
        ),
    ),
    check=_check,
)
# Over REST each incident locks for itself: lifting the lock of one leaves the other's.
SETTING = replace(
    STOPS,
    key=("scope", "target", "incident"),
    parts=tuple(replace(part, key=(*part.key, "incident")) for part in STOPS.parts),
)
