"""The command line's keys: the first is made by whoever runs it, every other is requested by an officer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mythos_gate import request_commands
from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import NotPermitted
from mythos_gate.registry import callers, officers, widening
from mythos_gate.registry.callers import Scope
from mythos_gate.registry.change import Registry
from mythos_gate.registry.delegation import Writer
from mythos_gate.terminal import LOCAL, allowed
from mythos_gate.terms import Permission, Role


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked for."""

    name: str
    roles: Sequence[Role]
    service: bool
    expires: datetime | None
    scope: Scope


async def create(registry: Registry, key: str | None, wanted: NewKey) -> tuple[str, str | None]:
    """The new key, and `ID SHA256` of its request unless it is good at once. `NotPermitted`."""
    async with registry.engine.connect() as connection:
        awaited, alone = await officers.are_awaited(connection), await officers.is_alone(connection)
    if awaited:
        return await _made(registry, LOCAL, wanted), None
    if not key:
        raise NotPermitted("there are keys: give yours with --key, and a second officer approves the new one")
    by = await request_commands.writer(registry, key)
    if alone and _is_second(by, wanted):
        return await _made(registry, by.caller.id, wanted), None
    members = {
        "name": wanted.name,
        "roles": sorted(wanted.roles),
        "service": wanted.service,
        "expires": wanted.expires and timestamp(wanted.expires),
        **asdict(wanted.scope),
    }
    text, asked = widening.new_key(members)
    return text, await request_commands.request(registry, key, asked)


def _is_second(by: Writer, wanted: NewKey) -> bool:
    """Nobody else could approve it: that of the officer beside the only one there ever was."""
    callers.require_on_record(by.caller)
    another = wanted.scope.person not in {None, by.caller.person}
    return by.may(Permission.RUN_PROGRAMME) and another and list(wanted.roles) == [Role.COMPLIANCE]


async def listed(registry: Registry, key: str | None) -> list[dict[str, Any]]:
    """Every key with its caller. `NotAuthenticated`, `NotPermitted`."""
    await _operator(registry, key)
    async with registry.engine.connect() as connection:
        return await callers.page(connection, limit=100_000)


async def revoke(registry: Registry, key: str | None, identifier: str) -> None:
    """`NotAuthenticated`, `NotPermitted`; `NotFound`, `Conflict`."""
    actor = await _operator(registry, key)
    async with registry.change("key_revoked", actor) as change:
        await callers.revoke_key(change, identifier)


async def _operator(registry: Registry, key: str | None) -> str:
    """Who may, as over REST; before there are keys, and in the demo's database, whoever runs the command."""
    async with registry.engine.connect() as connection:
        if await officers.are_awaited(connection):
            return LOCAL
    if not key:
        raise NotPermitted("there are keys: give yours with --key")
    return (await allowed(registry, key, Permission.OPERATE)).id


async def _made(registry: Registry, actor: str, wanted: NewKey) -> str:
    async with registry.change("key_created", actor) as change:
        if wanted.scope.person is not None and Role.COMPLIANCE in wanted.roles:
            await officers.enrol(change, wanted.scope.person)
        made = await callers.create_key(
            change, wanted.name, wanted.roles, service=wanted.service, expires_at=wanted.expires, scope=wanted.scope
        )
    return made.text
