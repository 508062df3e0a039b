"""Who acts for whom, as a verified token says it (RFC 8693 4.1): an agent, for the person it began with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Chain:
    """`principal` is the root, as `ORGANIZATION/EXTERNAL_ID`; `actors` are external ids, who acts now first.

    It stands from `not_before` until `expires_at`, without the latter.
    """

    principal: str
    actors: tuple[str, ...]
    not_before: datetime
    expires_at: datetime


# Of a token that nobody vouches for: no agent is that.
NOBODY = Chain("", ("",), datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))
Read: TypeAlias = Callable[[str], Awaitable[Chain]]


async def nobody(_: str) -> Chain:
    """What a gate without issuers makes of a token."""
    return NOBODY
