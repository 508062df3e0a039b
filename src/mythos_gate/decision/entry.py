"""The log entry of a decision, laid by hand: most of it is the same for many decisions, and is written once for all.

What it lays are the bytes that `audit.entry.template` gives for the same members, at a fraction of its time.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from mythos_gate.audit.entry import RANDOM, VERSION, canonical
from mythos_gate.decision.records import Loaded
from mythos_gate.decision.request import Request
from mythos_gate.decision.search import Page, Search

MOST = 4_096  # of each part that is remembered
BLOCK = 64  # bytes, of SHA-256
VERSION_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


class Digest:
    """HMAC-SHA-256 (RFC 2104) of what callers say, under one key: the key's own blocks are hashed once."""

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\x00")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __call__(self, value: Any) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
        outer.update(inner.digest())
        return outer.hexdigest()


class Entries:
    """Lays entries of one log; `digest_key` is for texts that are not on record, which may say something of a person.

    What it remembers follows from its arguments alone.
    """

    def __init__(self, origin: str, digest_key: bytes) -> None:
        self._digest = Digest(digest_key)
        self._log = _quoted(origin)
        self._caller = lru_cache(MOST)(_caller)
        self._policy = lru_cache(MOST)(_policy)
        self._action = lru_cache(MOST)(self._action_of)
        self._resource = lru_cache(MOST)(self._resource_of)

    def parts(
        self,
        caller: tuple[str, str],
        request: Request,
        context: Mapping[str, Any],
        request_id: str | None,
        loaded: Loaded,
        logged: Mapping[str, str],
        identifier: str,
        written: str,
    ) -> tuple[str, str, str, str]:
        """The body, cut where its place will stand (`audit.entry.PLACE`).

        `caller`: its id and its key's; `logged`: the JSON of what follows from the facts; `identifier` and `written`,
        the time, need no escape.
        """
        action = self._action(
            request.action,
            request.capability,
            _names(loaded, request.capability),
            request.purpose,
            request.purpose in loaded.purposes,
        )
        resource = self._resource(request.resource_type, request.model, loaded.model_known, request.version)
        said = "null" if request_id is None else f'"{self._digest(request_id)}"' if request_id else '""'
        before_n = (
            f'{{"action":{action},"at":"{written}","bypassed":{logged["bypassed"]},"caller":{self._caller(*caller)},'
            f'"cause":{logged["cause"]},"context":"{self._digest(context)}","data_set":{_quoted(loaded.data_set)},'
            f'"facts":{logged["facts"]},"id":"{identifier}","log":{self._log},"n":'
        )
        before_prev = (
            f',"organization":{_maybe(loaded.organization_id)},"outcome":{logged["outcome"]},'
            f'"policy":{self._policy(loaded.policy_revision, loaded.policy.sha256)},"prev":'
        )
        before_writer = (
            f',"reasons":{logged["reasons"]},"request":{said},"resource":{{"endpoint":{_maybe(loaded.endpoint_id)},'
            f'{resource},"rows":{logged["rows"]},"salt":"{RANDOM.take(16).hex()}",'
            f'"subject":{self._subject(request, loaded)},"type":"decision","v":{VERSION},"writer":'
        )
        return before_n, before_prev, before_writer, "}"

    def searched(self, asked: Search, page: Page) -> dict[str, Any]:
        """What is recorded of a page: neither what was asked nor what was found can be read from it."""
        return {
            "caller": {"id": page.caller.id, "key": page.caller.key_id},
            "search": asked.kind.value,
            "question": self._digest(asked.entities),
            "results": self._digest(page.found.ids),
            "found": len(page.found.ids),
            "first": asked.after == "",
            "last": page.found.next is None,
        }

    def _subject(self, request: Request, loaded: Loaded) -> str:
        kind = request.subject_type if request.subject_type in {"person", "agent"} else "other"
        if loaded.subject_id is None:
            return f'{{"digest":"{self._digest([request.subject_type, request.subject_id])}","type":"{kind}"}}'
        person = loaded.records.person
        return f'{{"id":{_quoted(loaded.subject_id)},"person":{_maybe(person.id if person else None)},"type":"{kind}"}}'

    def _action_of(
        self,
        name: str,
        capability: str | None,
        capability_known: bool,  # noqa: FBT001  remembered by place, as in the next one
        purpose: str | None,
        purpose_known: bool,  # noqa: FBT001
    ) -> str:
        members = {
            "name": self._known(name, name == "invoke"),
            "capability": self._known(capability, capability_known),
            "purpose": self._known(purpose, purpose_known),
        }
        return canonical(members).decode()

    def _resource_of(self, kind: str, model: str, model_known: bool, version: str | None) -> str:  # noqa: FBT001
        """Its members behind the endpoint."""
        members = {
            "type": self._known(kind, kind == "model"),
            "id": self._known(model, model_known),
            "version": self._known(version, version is not None and VERSION_NUMBER.fullmatch(version)),
        }
        return canonical(members).decode()[1:]

    def _known(self, text: str | None, is_known: object) -> str | dict[str, str] | None:
        """A code that is on record as it is; any other text only as its digest: it may say something of a person."""
        return text if text is None or is_known else {"digest": self._digest(text)}


def _names(loaded: Loaded, capability: str | None) -> bool:
    """Whether a grant or the agent's own scopes name the capability."""
    agent = loaded.records.agent
    return capability in loaded.capabilities or (agent is not None and capability in agent.scopes)


def _caller(identifier: str, key: str) -> str:
    return canonical({"id": identifier, "key": key}).decode()


def _policy(revision: int, sha256: str) -> str:
    return canonical({"revision": revision, "sha256": sha256}).decode()


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _maybe(text: str | None) -> str:
    return "null" if text is None else orjson.dumps(text).decode()
