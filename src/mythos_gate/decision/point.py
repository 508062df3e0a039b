"""What the decision API asks of a PDP, whatever it decides about: `pdp.Pdp` decides about models."""

from typing import Protocol

from mythos_gate.decision.pdp import Answer, Ask, SeatsNeeded
from mythos_gate.decision.search import Found, Search


class DecisionPoint(Protocol):
    """`NotAuthenticated` or `NotPermitted` if the caller may not ask; `NotDecided`, `NotRecorded`: no answer."""

    async def evaluate(self, ask: Ask) -> Answer | SeatsNeeded: ...

    async def search(self, asked: Search) -> Found: ...
