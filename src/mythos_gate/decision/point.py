"""What the decision API asks of a PDP, whatever it decides about: `pdp.Pdp` decides about models."""

from collections.abc import Sequence
from typing import Protocol

from mythos_gate.authn.bearer import Credential
from mythos_gate.decision.pdp import Answer, Ask, SeatsNeeded
from mythos_gate.decision.search import Found, Search
from mythos_gate.terms import Permission


class DecisionPoint(Protocol):
    """`NotAuthenticated` or `NotPermitted` if the caller may not ask; `NotDecided`, `NotRecorded`: no answer."""

    async def require(self, key: Credential, permission: Permission) -> None: ...

    async def evaluate(self, asks: Sequence[Ask]) -> list[Answer | SeatsNeeded]: ...

    async def search(self, asked: Search) -> Found: ...
