"""Small PDPs of something else than models, for the real wire layer: each is a rule over who and what there is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

import orjson

from mythos_gate.api.deps import Gate, authenticate
from mythos_gate.authn.bearer import Credential
from mythos_gate.decision.pdp import Answer, Ask, SeatsNeeded
from mythos_gate.decision.point import DecisionPoint
from mythos_gate.decision.policy import ALLOW, NO_RULE, Decision, Policy, Told, read_files
from mythos_gate.decision.search import Found, Kind, Search
from mythos_gate.settings import root
from mythos_gate.terms import Outcome, Permission

Entity: TypeAlias = Mapping[str, Any]
# Of subject, action and resource, as they were sent.
Rule: TypeAlias = Callable[[Entity, Entity, Entity], bool]


def properties(entity: Entity) -> Mapping[str, Any]:
    return entity.get("properties") or {}


@dataclass(frozen=True)
class World:
    """Who and what there is, by type and id; what is not there is denied before the rule is asked."""

    subjects: Mapping[str, Mapping[str, Any]]
    actions: tuple[str, ...]
    resources: Mapping[str, Mapping[str, Any]]
    rule: Rule

    def allows(self, subject: Entity, action: Entity, resource: Entity) -> bool:
        known = subject["id"] in self.subjects.get(subject["type"], {})
        there = resource["id"] in self.resources.get(resource["type"], {})
        return known and there and action["name"] in self.actions and self.rule(subject, action, resource)

    def candidates(self, kind: Kind, sought: Entity) -> Iterator[tuple[str, Entity]]:
        """In the order of their identifiers."""
        if kind == Kind.ACTION:
            yield from ((name, {**sought, "name": name}) for name in sorted(self.actions))
        else:
            there = self.subjects if kind == Kind.SUBJECT else self.resources
            yield from ((each, {**sought, "id": each}) for each in sorted(there.get(sought["type"], {})))


class Point(DecisionPoint):
    """The world as a PDP. Callers are the gate's own."""

    def __init__(self, gate: Gate, world: World) -> None:
        self._gate = gate
        self._world = world
        self._reasons = Policy(read_files(root() / "policies")).reasons

    async def require(self, key: Credential, permission: Permission) -> None:
        self._gate.permissions.require(await authenticate(self._gate, key), permission)

    async def evaluate(self, asks: Sequence[Ask]) -> list[Answer | SeatsNeeded]:
        return [await self._evaluate(ask) for ask in asks]

    async def _evaluate(self, ask: Ask) -> Answer:
        await self.require(ask.key, Permission.EVALUATE)
        parts = [ask.entities[kind] for kind in Kind.__members__.values()]
        allowed = self._world.allows(parts[0], parts[2], parts[1])
        decision = Decision(Outcome.ALLOW, (ALLOW,)) if allowed else Decision(Outcome.DENY, (NO_RULE,))
        told = Told(decision, self._reasons[decision.primary], str(allowed), {}, *[orjson.Fragment(b"{}")] * 2)
        return Answer(str(uuid4()), datetime.now(UTC), "", told, 1, explained=False)

    async def search(self, asked: Search) -> Found:
        ids: list[str] = []
        place = asked.after
        for identifier, candidate in self._world.candidates(asked.kind, asked.entities.get(asked.kind, {})):
            parts = {**asked.entities, asked.kind: candidate}
            if identifier <= asked.after or not self._world.allows(
                parts["subject"], parts["action"], parts["resource"]
            ):
                continue
            if len(ids) == asked.limit:
                return Found(tuple(ids), place)
            ids.append(identifier)
            place = identifier
        return Found(tuple(ids), None)


# --- the conformance suite's records ----------------------------------------------------------------------------

USERS: dict[str, dict[str, Any]] = {"alice": {"role": "user"}, "bob": {"role": "admin"}}
RECORDS = {"record-1": {"status": "active"}, "record-2": {"status": "archived"}}


def _record(subject: Entity, action: Entity, resource: Entity) -> bool:
    """Everybody reads. An archived record is written by an admin, any other by alice, who deletes softly."""
    role: str = properties(subject).get("role", USERS[subject["id"]]["role"])
    status = properties(resource).get("status", RECORDS[resource["id"]]["status"])
    if action["name"] == "write":
        return role == "admin" if status == "archived" else subject["id"] == "alice"
    if action["name"] == "delete":
        return subject["id"] == "alice" and properties(action).get("soft") is True
    return True


SUITE = World({"user": USERS}, ("read", "write", "delete"), {"record": RECORDS}, _record)


# --- the interop scenario of todos ------------------------------------------------------------------------------


class Everything(dict[str, Any]):
    """Whatever is asked about is there."""

    def __contains__(self, _: object) -> bool:
        return True


# A subject's id is a protobuf message in base64, in which the users differ by one digit.
PEOPLE: dict[str, dict[str, Any]] = {
    f"CiRmZ{digit}2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs": {"mail": mail, "roles": roles}
    for digit, mail, roles in (
        ("DA", "rick@the-citadel.com", {"admin", "evil_genius"}),
        ("DE", "morty@the-citadel.com", {"editor"}),
        ("DI", "summer@the-smiths.com", {"editor"}),
        ("DM", "beth@the-smiths.com", {"viewer"}),
        ("DQ", "jerry@the-smiths.com", {"viewer"}),
    )
}


def _todo(subject: Entity, action: Entity, resource: Entity) -> bool:
    """Editors change and delete what is theirs, admins delete and evil geniuses change anything."""
    person = PEOPLE[subject["id"]]
    mine = "editor" in person["roles"] and properties(resource).get("ownerID") == person["mail"]
    allowed = {
        "can_create_todo": person["roles"] & {"admin", "editor"},
        "can_update_todo": mine or "evil_genius" in person["roles"],
        "can_delete_todo": mine or "admin" in person["roles"],
    }
    return bool(allowed.get(action["name"], True))


TODOS = World(
    {"user": PEOPLE},
    ("can_read_user", "can_read_todos", "can_create_todo", "can_update_todo", "can_delete_todo"),
    {"user": Everything(), "todo": Everything()},
    _todo,
)


# --- the interop scenario of search -----------------------------------------------------------------------------


def library(users: Iterable[Entity], records: Iterable[Entity]) -> World:
    """Of these users and records, each with a department."""
    people = {str(each["id"]): each for each in users}
    shelf = {str(each["id"]): each for each in records}

    def rule(subject: Entity, action: Entity, resource: Entity) -> bool:
        person, record = people[subject["id"]], shelf[resource["id"]]
        is_manager, is_near = person["role"] == "manager", person["department"] == record["department"]
        owns = record["owner"] == person["id"]
        granted = {"view": is_manager or is_near, "edit": is_manager and is_near}
        return bool(owns or granted.get(action["name"]))

    return World({"user": people}, ("view", "edit", "delete"), {"record": shelf}, rule)
