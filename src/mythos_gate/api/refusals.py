"""Refused administrative calls, as entries of the log: who is known and may not, and how many were not known."""

from typing import Any

from fastapi import Request

from mythos_gate.audit.log import Committer
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import GateError, LockedOut, NotAuthenticated, NotPermitted

TYPE = "refused"
EVERY = 60.0  # seconds


class Refusals:
    """The first of a kind is recorded before it is answered; those that follow within a minute are counted.

    A kind is a caller, a route and a reason: as many as there can be in a minute are few, because callers are known.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[tuple[str, Any], ...], int] = {}  # those that no entry has told yet
        self._strangers = 0

    async def note(self, log: Committer, request: Request, error: GateError) -> None:
        """`NotRecorded`. Of routes whose signature asks for a permission, which those of decisions do not."""
        if not getattr(request.state, "administrative", False):
            return
        if isinstance(error, NotAuthenticated | LockedOut):
            self._strangers += 1
        elif isinstance(error, NotPermitted):
            await self._refused(log, _members(request, error))

    async def _refused(self, log: Committer, members: dict[str, Any]) -> None:
        kind = tuple(sorted(members.items()))
        if kind in self._counts:
            self._counts[kind] += 1
            return
        self._counts[kind] = 0
        try:
            await log.note(TYPE, members | {"count": 1})
        except BaseException:
            self._counts.pop(kind, None)
            raise

    async def flush(self, log: Committer) -> None:
        """What was counted and not told, once a minute. `NotRecorded`."""
        counts, self._counts = self._counts, {}
        strangers, self._strangers = self._strangers, 0
        if strangers:
            await log.note(TYPE, {"status": 401, "count": strangers})
        for kind, count in counts.items():
            if count:
                await log.note(TYPE, {**dict(kind), "count": count})


def _members(request: Request, error: NotPermitted) -> dict[str, Any]:
    caller: Caller = request.state.caller
    route = f"{request.method} {request.scope['route'].path_format}"
    code = {"code": error.code} if error.code else {}
    return {"actor": caller.id, "key": caller.key_id, "route": route, "status": 403, **code}
