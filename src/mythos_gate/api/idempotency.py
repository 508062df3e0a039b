"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a write sent again is answered again, and done once."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from mythos_gate.errors import Invalid
from mythos_gate.registry.idempotency import Answer, Attempt

HEADER = "Idempotency-Key"
WRITING = frozenset({"POST", "PUT", "PATCH"})
LONGEST = 255
# A string of RFC 8941 (3.3.3), or the same bare, as most clients send a UUID.
QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
BARE = re.compile(r"[A-Za-z0-9!#$%&'*+./:=?@^_`|~-]+")
PARAMETER = {
    "name": HEADER,
    "in": "header",
    "description": f"a text of at most {LONGEST} characters that you make up for each change, such as a UUID. The same"
    " request with the same key is done once: for 24 hours it is answered with the same status and body",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST + 2},
}


class Repeated(Exception):
    """The change was made before: this is its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Once(APIRoute):
    """A route whose change is made once for each Idempotency-Key of a caller."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if WRITING & set(options.get("methods") or ()):
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = extra | {"parameters": [*extra.get("parameters", ()), PARAMETER]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            if HEADER not in request.headers or request.method not in WRITING:
                return await handle(request)
            gate = request.app.state.gate
            async with Attempt(gate.registry, gate.slots) as attempt:
                request.state.attempt = attempt
                try:
                    response = await handle(request)
                except Repeated as repeated:
                    return _response(repeated.answer)
                await attempt.keep(_answer(response))
                return response

        return once


async def begin(attempt: Attempt, caller: str, request: Request) -> None:
    """`Repeated` if this caller's change was made; `Invalid`, `UnderWay`, `Reused`, `NotRecorded`."""
    key = _key(request.headers.getlist(HEADER))
    asked = [request.method, request.url.path, request.url.query, request.headers.get("if-match")]
    answer = await attempt.begin(attempt.slots.of(caller, key, asked, await request.body()))
    if answer is not None:
        raise Repeated(answer)


def _key(sent: list[str]) -> str:
    if len(sent) > 1:
        raise Invalid(f"{HEADER}: is there twice: send it once")
    quoted = QUOTED.fullmatch(sent[0])
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else sent[0]
    if not quoted and not BARE.fullmatch(key):
        raise Invalid(f'{HEADER}: must be a text in quotation marks, such as "8e03978e-40d5-43e8-bc93-6894a57f9324"')
    if len(key) > LONGEST:
        raise Invalid(f"{HEADER}: has at most {LONGEST} characters")
    return key


def _answer(response: Response) -> Answer:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    return Answer(response.status_code, headers, bytes(response.body).decode())


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    return response
