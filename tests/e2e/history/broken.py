"""The guards, each with how to break it: with one of these in a server, the checker must find something."""

from collections.abc import Callable
from typing import Any

from mythos_gate.audit import log
from mythos_gate.decision import records
from mythos_gate.decision.pdp import Pdp


def _replace(condition: str, by: str) -> None:
    assert condition in log.INSERT
    log.INSERT = log.INSERT.replace(condition, by)


def revision() -> None:
    """What was touched meanwhile does not count."""
    _replace("NOT guard.touched && $3::text[]", "$3::text[] IS NOT NULL")


def until() -> None:
    """Nor does what has expired."""
    _replace("guard.at < $4::timestamptz", "$4::timestamptz IS NOT NULL")


def deadline() -> None:
    """Whoever was stopped answers when he goes on."""

    async def whenever(_: Pdp, ask: Any, work: Any) -> Any:
        return await work(ask)

    Pdp._in_time = whenever  # type: ignore[method-assign, assignment]


def without(noun: str, *, of_agents: bool = False) -> Callable[[], None]:
    """The keys of a noun are left out; `of_agents`: where an agent asks."""

    def leave_out() -> None:
        really = records._keys

        def keys(row: Any, key_id: Any, stored: Any, request: Any, *rest: Any) -> frozenset[str]:
            found = really(row, key_id, stored, request, *rest)
            concerned = request.by_agent or not of_agents
            return frozenset(key for key in found if not (concerned and key.partition(":")[0] == noun))

        records._keys = keys  # type: ignore[assignment]

    return leave_out


BROKEN: dict[str, Callable[[], None]] = {
    "revision": revision,
    "until": until,
    "deadline": deadline,
    "sponsor": without("person", of_agents=True),
    "organization": without("organization"),
    "key": without("key"),
    "caller": without("caller"),
    "owner": without("person"),
    "person": without("person"),
    "agent": without("agent"),
    "endpoint": without("endpoint"),
    "global": without("global"),
    "unknown person": without("person-name"),
    "unknown endpoint": without("endpoint-name"),
}
