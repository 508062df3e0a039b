"""Page tokens: where the next page starts, sealed together with the request that it goes on with.

A token holds a place in the search's order, by the gate's own ids, and the limit. Its seal (HMAC-SHA-256) is over these
and the request's entities, so that it fits no other request.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

from mythos_gate.errors import Invalid

# No JSON starts like this: what the log's digests are made of, under the same key, is JSON that callers choose.
PURPOSE = b"mythos-gate page token 1"
REFUSED = "page.token: is not of this request: send the token of the page before, with all else as it was"


class Tokens:
    """`key` is the gate's digest key: a token is good at every process that has it, before and after a restart."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, PURPOSE, "sha256")

    def seal(self, place: str, limit: int | None, question: Mapping[str, Any]) -> str:
        """The token of the page that starts after `place`."""
        held = orjson.dumps([place, limit])
        sealed = orjson.dumps([place, limit, question], option=orjson.OPT_SORT_KEYS)
        return f"{_text(held)}.{_text(hmac.digest(self._key, sealed, 'sha256'))}"

    def open(self, token: str, limit: int | None, question: Mapping[str, Any]) -> tuple[str, int | None]:
        """Place and limit. `Invalid` if it is of another request or gate; a limit that is left out is the same.

        But for a limit of 0: whoever then leaves it out wants to come further than nothing.
        """
        try:
            place, held = orjson.loads(_bytes(token.partition(".")[0]))
        except (ValueError, TypeError) as error:
            raise Invalid(REFUSED) from error
        if not isinstance(place, str) or not isinstance(held, int | None):
            raise Invalid(REFUSED)
        # Made again and compared as a whole: base64 has several texts for one content.
        if not hmac.compare_digest(self.seal(place, held, question).encode(), token.encode()):
            raise Invalid(REFUSED)
        if limit not in {None, held}:
            raise Invalid("page.limit: is not that of the page before: send the same, or leave it out")
        return place, held or limit


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
