"""Switches: rules that are in force from one instant to another."""

from mythos_gate import tables
from mythos_gate.registry.columns import one_of, time
from mythos_gate.registry.kind import After, Column, Findings, Kind, Part, Record, Row
from mythos_gate.registry.narrowing import higher
from mythos_gate.terms import Switch


def _check(_: Row, __: Record | None, after: After) -> Findings:
    [switch] = after["switches"]
    if switch["ends_at"] and switch["ends_at"] <= switch["starts_at"]:
        yield "until", "is not after from", "correct one of the two"


SWITCHES = Kind(
    name="switches",
    columns={
        "name": Column(one_of(Switch), required=True),
        "from": Column(time, required=True, into="starts_at"),
        "until": Column(time, into="ends_at", narrows=higher),
    },
    key=("name", "from"),
    parts=(Part(tables.switches, key=("name", "starts_at"), prefix="swi_"),),
    check=_check,
)
