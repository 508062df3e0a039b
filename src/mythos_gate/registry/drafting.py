"""Drafting: changes in the one form in which they are simulated, and by which their simulations are found again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid
from mythos_gate.registry import columns, organizations, resources
from mythos_gate.registry.directives import DIRECTIVES
from mythos_gate.registry.kind import Bad, Clock, Kind
from mythos_gate.registry.resources import BY_NAME
from mythos_gate.registry.switches import SWITCHES

# Of a grant on paper what decisions look at, of a directive whom it concerns, of a rule its end: what is simulated
# before it is widened.
TERMS: Mapping[str, Sequence[str]] = {
    "grants": (
        "versions", "capabilities", "purposes", "foreign_nationals", "excluded_groups", "nationality_basis",
        "allowed_countries", "contractors", "agents",
    ),
    "directives": ("versions", "applies_to", "from", "until", "exempt_organizations"),
    "switches": ("until",),
}  # fmt: skip
# What else a simulation can be of.
MORE = {"grants": ("status", "seat_cap"), "directives": (), "switches": ()}
NEEDED = ("model", "versions", "applies_to", "from")  # of a directive that is not on record


def terms(kind: Kind, members: Mapping[str, Any], now: datetime, more: Sequence[str] | None = None) -> dict[str, Any]:
    """Members as a record would have them, lists in order, so that what means the same is the same. `Invalid`."""
    known = (*TERMS[kind.name], *(MORE[kind.name] if more is None else more))
    if unknown := [name for name in members if name not in known]:
        raise Invalid(f"{kind.name}: {unknown[0]!r} cannot be simulated: use {', '.join(known)}")
    return {name: _normal(kind, name, members[name], Clock(now)) for name in sorted(members)}


def order(members: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The same of a directive that is not on record."""
    if missing := [name for name in NEEDED if name not in members]:
        raise Invalid(f"directives: {', '.join(missing)}: must be there")
    return terms(DIRECTIVES, members, now, ["model"])


def _normal(kind: Kind, name: str, value: Any, clock: Clock) -> Any:
    column = kind.columns[name]
    try:
        read = column.read(columns.as_text(column.parse, value), clock)
    except Bad as bad:
        raise Invalid(f"{kind.name}: {name}: {bad.what}: {bad.remedy}") from None
    found = column.default if read is None else read
    if found is None and column.required:
        raise Invalid(f"{kind.name}: {name}: must not be empty")
    if isinstance(found, datetime):
        return timestamp(found)
    return sorted(set(found)) if isinstance(found, list | tuple | frozenset) else found


async def amended(
    connection: AsyncConnection, reference: str, members: Mapping[str, Any], caller: Caller
) -> dict[str, Any]:
    """A directive on record as it is and as it would be, for a simulation. `NotFound`."""
    shown = (await resources.read(connection, BY_NAME[DIRECTIVES.name], reference, caller)).members
    before = {name: shown[name] for name in TERMS[DIRECTIVES.name]}
    return {
        "model": shown["model"],
        "before": await _resolved(connection, before),
        "after": await _resolved(connection, before | dict(members)),
    }


async def ordered(connection: AsyncConnection, members: Mapping[str, Any]) -> dict[str, Any]:
    """A directive that is not on record, likewise."""
    return {"model": members["model"], "before": None, "after": await _resolved(connection, members)}


async def switched(
    connection: AsyncConnection, reference: str, members: Mapping[str, Any], caller: Caller
) -> dict[str, Any]:
    """A switch on record as it is and as it would be. `NotFound`."""
    shown = (await resources.read(connection, BY_NAME[SWITCHES.name], reference, caller)).members
    before = {name: shown[name] for name in ("from", "until")}
    return {"before": before, "after": before | dict(members)}


async def _resolved(connection: AsyncConnection, members: Mapping[str, Any]) -> dict[str, Any]:
    """With the exempt organizations by their ids. `Invalid` if one is not on record."""
    exempt = await organizations.ids(connection, members.get("exempt_organizations") or [])
    return dict(members) | {"exempt_organizations": exempt}
