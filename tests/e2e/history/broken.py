"""The guards, each with how to break it: with one of these in a server, the checker must find something."""

import math
from collections.abc import Callable
from typing import Any

from mythos_gate.audit import log
from mythos_gate.decision.pdp import Pdp
from mythos_gate.decision.records import Pip
from mythos_gate.revision import Known, Seen


def _replace(condition: str, by: str) -> None:
    assert condition in log.INSERT
    log.INSERT = log.INSERT.replace(condition, by)


def revision() -> None:
    """What was touched meanwhile does not count."""
    _replace("NOT guard.touched && $4::text[]", "$4::text[] IS NOT NULL")


def until() -> None:
    """Nor does what has expired."""
    _replace("guard.at < $6::timestamptz", "$6::timestamptz IS NOT NULL")


def lower_bound() -> None:
    """Nor that the database's clock is not yet where the decision was made."""
    _replace("guard.at >= $5::timestamptz", "$5::timestamptz IS NOT NULL")


def deadline() -> None:
    """Whoever was stopped answers when he goes on."""

    async def whenever(self: Pdp, asks: Any) -> Any:
        return await self._evaluate(asks, math.inf)

    Pdp.evaluate = whenever  # type: ignore[method-assign]


def fill() -> None:
    """What was read is kept, whatever was heard of meanwhile."""
    really = Known.hear

    def hear(self: Known, sent: Any, answer: Any) -> Seen:
        really(self, sent, answer)
        return self.seen

    Known.hear = hear  # type: ignore[method-assign]


def key_fill() -> None:
    """What was read of a key is."""
    really = Pip._keep

    async def keep(self: Pip, connection: Any, seen: Any, wanted: Any, rows: Any) -> None:
        await really(self, connection, seen, wanted, rows)
        for key, value in rows.items():
            if key.startswith("key:"):
                self._put(key, self._parsed(key, value))

    Pip._keep = keep  # type: ignore[method-assign]


def closing_read() -> None:
    """A refusal from memory is told as it is."""

    async def stands(_self: Pdp, _loaded: Any, _deadline: float) -> bool:
        return True

    Pdp._still_stands = stands  # type: ignore[method-assign, assignment]


def dropping() -> None:
    """What was touched stays in memory."""
    Pip._drop = lambda _self, key: None  # type: ignore[method-assign, assignment]


def without(noun: str, *, of_agents: bool = False) -> Callable[[], None]:
    """The keys of a noun are left out; `of_agents`: where an agent asks."""

    def leave_out() -> None:
        really = Pip.compose

        def compose(self: Pip, key_id: Any, request: Any, *rest: Any) -> Any:
            loaded = really(self, key_id, request, *rest)
            if loaded is not None and (request.by_agent or not of_agents):
                loaded.keys = frozenset(key for key in loaded.keys if key.partition(":")[0] != noun)
            return loaded

        Pip.compose = compose  # type: ignore[method-assign, assignment]

    return leave_out


BROKEN: dict[str, Callable[[], None]] = {
    "revision": revision,
    "until": until,
    "lower bound": lower_bound,
    "deadline": deadline,
    "fill": fill,
    "key fill": key_fill,
    "closing read": closing_read,
    "dropping": dropping,
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
