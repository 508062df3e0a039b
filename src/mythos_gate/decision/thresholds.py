"""Thresholds: the limits that a policy revision sets, within bounds that are fixed in code."""

import csv
import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mythos_gate.decision.facts import Thresholds
from mythos_gate.errors import Invalid

FILE = "thresholds.csv"
COLUMNS = ["threshold", "value", "unit"]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The unit in which it is given, and the whole numbers that it may be."""

    unit: str
    least: int
    most: int


BOUNDS = {
    "clock_skew": _Bounds("seconds", 1, 60),
    "data_review": _Bounds("days", 1, 366),
    "screening_age": _Bounds("hours", 1, 168),
    "break_glass": _Bounds("hours", 1, 8),
    "blocked_percent": _Bounds("percent", 1, 50),  # OFAC FAQ 401: 50 % is the law, less is stricter
    "agent_depth": _Bounds("agents", 1, 8),
    "approvers": _Bounds("people", 2, 5),
}
TIMES = {"seconds", "hours", "days"}


def parse(text: str | None) -> Thresholds:
    """Of `thresholds.csv`; a revision without that file has the product's own. `Invalid` names line and column."""
    if text is None:
        return Thresholds()
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if reader.fieldnames != COLUMNS:
        raise Invalid(f"{FILE}: line 1: the columns must be {','.join(COLUMNS)}")
    given: dict[str, Any] = {}
    for line, row in enumerate(reader, start=2):
        name = row["threshold"]
        if name in given:
            raise Invalid(f"{FILE}: line {line}: {name} stands twice")
        given[name] = _value(row, f"{FILE}: line {line}")
    if missing := BOUNDS.keys() - given.keys():
        raise Invalid(f"{FILE}: {min(missing)} is missing")
    return Thresholds(**given)


def _value(row: dict[Any, Any], where: str) -> Any:
    bounds = BOUNDS.get(row["threshold"])
    if bounds is None:
        raise Invalid(f"{where}: {row['threshold']!r} is not one of {', '.join(BOUNDS)}")
    if row["unit"] != bounds.unit or None in row:
        raise Invalid(f"{where}: the unit of {row['threshold']} is {bounds.unit}")
    value = row["value"]
    if not (value.isascii() and value.isdecimal() and bounds.least <= int(value) <= bounds.most):
        raise Invalid(f"{where}: {row['threshold']} is a whole number from {bounds.least} to {bounds.most}")
    return timedelta(**{bounds.unit: int(value)}) if bounds.unit in TIMES else int(value)
