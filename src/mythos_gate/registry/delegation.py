"""Delegation: what an organization's administrator may assert of the own staff, and what is left to others."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mythos_gate.authn.api_keys import Caller
from mythos_gate.registry.kind import After, Bad, Clock, Findings, Kind, Parser, Record, Row
from mythos_gate.registry.narrowing import lower
from mythos_gate.registry.people import APART
from mythos_gate.terms import Employment, Permission

EVIDENCE = "obligations_evidence"
OBLIGATIONS: dict[str, Any] = {  # and what stands for none
    "training_expires": datetime.min.replace(tzinfo=UTC),
    "acceptable_use": False,
    "technology_control_plan": False,
}
HAS_LEFT = "the person has left"
ANEW = "register anew who comes back"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, what of it, and when; `until`: when a change that they request expires."""

    caller: Caller
    may: Callable[[Permission], bool]
    now: datetime
    until: datetime


def requester(caller: Caller, organization: str | None) -> str | None:
    """Whoever brings somebody in has asked for the access, and neither approves nor adjudicates it.

    A service without a person on record is nobody who could: None, not its name where a person's stands.
    """
    if caller.is_service and caller.person_id is None:
        return None
    return caller.identity if organization is None else caller.identity_in(organization)


def narrowed(kind: Kind, writer: Writer) -> Kind:
    """The kind as this writer may assert it over REST."""
    own, columns = writer.caller.organization, dict(kind.columns)
    if kind.name == "people":
        columns["requested_by"] = replace(columns["requested_by"], default=requester(writer.caller, own))
    check = _people(kind, own=own is not None) if kind.name == "people" else kind.check
    if own is None:
        return replace(kind, columns=columns, check=check)
    columns["organization"] = replace(columns["organization"], parse=_only(own), required=False, default=own)
    refused = frozenset(name for name, column in columns.items() if not writer.may(column.by))
    # What compliance alone may see is not looked at either: the database would refuse it.
    parts = tuple(part for part in kind.parts if part.table not in APART)
    return replace(kind, columns=columns, refused=refused, check=check, parts=parts)


def _only(own: str) -> Parser:
    def parse(value: str, _: Clock) -> str:
        # Whether another organization exists is not told.
        if value != own:
            raise Bad("is not the organization of this key", "leave the column out, or empty")
        return value

    return parse


def _people(kind: Kind, *, own: bool) -> Callable[[Row, Record | None, After], Findings]:
    def check(row: Row, before: Record | None, after: After) -> Findings:
        if kind.check:
            yield from kind.check(row, before, after)
        [person] = after["people"]
        if before and before["employment"] == Employment.ENDED != person["employment"]:
            yield "employment", HAS_LEFT, f"{ANEW}, under another external id"
        old = before or dict.fromkeys((*OBLIGATIONS, EVIDENCE))
        new = [
            name for name in OBLIGATIONS if not lower(old[name] or OBLIGATIONS[name], person[name] or OBLIGATIONS[name])
        ]
        cited = row.get(EVIDENCE) not in {None, old[EVIDENCE]}
        if (new or cited) and not own:
            what = "is asserted by the organization, with a reference to its evidence, and only revoked by others"
            yield (new or [EVIDENCE])[0], what, "leave it to the organization's administrator"
        lost = old[EVIDENCE] is not None and any(person[name] for name in OBLIGATIONS) and person[EVIDENCE] is None
        # What was said to be on file once is no evidence of what is asserted now.
        if lost or (own and new and row.get(EVIDENCE) is None):
            what = "must say where training and signatures are on file"
            yield EVIDENCE, what, "give a reference, such as a course record's number"

    return check
