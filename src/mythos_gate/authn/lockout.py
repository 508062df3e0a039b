"""Failed authentication in bounds: whoever keeps sending keys that are wrong is put off (429), and nobody else is.

A key's secret has 256 random bits: no number of guesses finds one, so there is nothing that a lock on a key would keep
safe, and its id is no secret: it stands in the log. A lock on the id would be a way to shut out its holder with ten
requests a minute, a kill switch among them. So what is limited is the work that wrong keys make. While an id, or all of
them together, had too many failures, a key that is sent is first held against the hashes that are on record, which are
read once for all: the right key goes on to be checked as ever, however often others tried its id, and a wrong one is
refused from memory. A key that was made in the seconds since is put off until they are read again.

By process and in memory: what is forgotten by a restart, or because ten thousand other ids came in between, costs a few
look-ups. Callers are not told apart by address: the gate sees a proxy's.
"""

import hmac
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from mythos_gate.authn.api_keys import Presented
from mythos_gate.errors import LockedOut

MOST, SPAN = 10, 60.0  # failures of one id, and in how many seconds
MOST_OF_ALL, SPAN_OF_ALL = 100, 10.0
REMEMBERED = 10_000  # ids
FRESH = 10.0  # seconds that the hashes on record are used for
MOST_KEYS = 100_000  # whose hashes are kept meanwhile


@dataclass(slots=True)
class _Count:
    """Failures since an instant."""

    since: float
    failures: int = 0


class Lockout:
    """`clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._all = _Count(-math.inf)
        self._known: Mapping[str, bytes] | None = None
        self._known_since = -math.inf

    def failed(self, identifier: str) -> None:
        """Count it. `LockedOut` if it was one too many."""
        now = self._clock()
        if now - self._all.since >= SPAN_OF_ALL:
            self._all = _Count(now)
        count = self._counts.get(identifier)
        if count is None or now - count.since >= SPAN:
            count = self._counts[identifier] = _Count(now)
        self._counts.move_to_end(identifier)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        self._all.failures += 1
        count.failures += 1
        self._refuse(identifier, now)

    def wants(self, identifier: str) -> bool:
        """Whether `learn` is to be given the hashes on record before `admit` is asked. Of many only the first does."""
        now = self._clock()
        if self._ends(identifier) <= now or now - self._known_since < FRESH:
            return False
        self._known_since = now
        return True

    def learn(self, known: Mapping[str, bytes]) -> None:
        """The hash of each key on record."""
        self._known = known

    def admit(self, presented: Presented) -> None:
        """`LockedOut` if its id, or all together, failed too often, and it is not the key on record."""
        now = self._clock()
        if self._known is None or self._ends(presented.id) <= now:
            return
        right = self._known.get(presented.id)
        if right is None or not hmac.compare_digest(right, presented.hash):
            self._refuse(presented.id, now)

    def _ends(self, identifier: str) -> float:
        """When it stops; now or before if nothing is locked."""
        count = self._counts.get(identifier)
        own = count.since + SPAN if count is not None and count.failures > MOST else -math.inf
        return max(own, self._all.since + SPAN_OF_ALL if self._all.failures > MOST_OF_ALL else -math.inf)

    def _refuse(self, identifier: str, now: float) -> None:
        left = math.ceil(self._ends(identifier) - now) if self._ends(identifier) > now else 0
        if left:
            raise LockedOut("too many requests came with keys that are not valid: ask again later", left)
