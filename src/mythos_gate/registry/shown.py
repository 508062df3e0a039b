"""A record as it is shown, and the tag that changes with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from mythos_gate.errors import Outdated


@dataclass(frozen=True, slots=True)
class Shown:
    """`version` stands for the members in the tag where a hash of them could be guessed."""

    members: Mapping[str, Any]
    version: str | None = None

    @property
    def id(self) -> str:
        return str(self.members["id"])

    @property
    def etag(self) -> str:
        if self.version is not None:
            return f'"{self.version}"'
        digest = sha256(orjson.dumps(dict(self.members), option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f'"{digest[:32]}"'

    def require(self, condition: str, noun: str) -> None:
        """`Outdated` unless the value of If-Match names this state (RFC 9110 13.1.1)."""
        if not {self.etag, "*"} & {each.strip() for each in condition.split(",")}:
            raise Outdated(f"the {noun} was changed since: read it again")
