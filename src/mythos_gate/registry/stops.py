"""Stops: kill switches on everything, an authority or a model, and incident locks on the others."""

from datetime import datetime

from mythos_gate import tables
from mythos_gate.registry.columns import flag, label, one_of, reference
from mythos_gate.registry.kind import After, Clock, Column, Findings, Kind, Part, Record, Row
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
