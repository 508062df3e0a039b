"""Forward authentication: a proxy asks with headers, and is answered with a status, as nginx's `auth_request` wants it.

The proxy sets every header itself, and clears what a client sent under these names: the gate takes their word. It knows
the proxy by its key, and records what was asserted under the proxy's name.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from mythos_gate.api import problems
from mythos_gate.api.authzen import evaluate, read
from mythos_gate.api.deps import MayEvaluate, TheGate
from mythos_gate.api.front import Incoming
from mythos_gate.errors import Invalid

router = APIRouter(tags=["decision"])
PREFIX = "x-gate-"
# Some proxies pass the body on to the client: it holds what the subject may see.
DENIED = problems.Kind("denied", "denied", 403)
# What a header says, as a path into an evaluation.
HEADERS: dict[str, tuple[str, ...]] = {
    "subject-type": ("subject", "type"),
    "subject": ("subject", "id"),
    "capability": ("action", "properties", "capability"),
    "purpose": ("action", "properties", "purpose"),
    "model": ("resource", "id"),
    "version": ("resource", "properties", "version"),
    "country": ("context", "location", "country"),
    "region": ("context", "location", "region"),
    "anonymizer": ("context", "location", "anonymizer"),
    "conflict": ("context", "location", "conflict"),
    "endpoint": ("context", "endpoint"),
    "mfa": ("context", "session", "mfa"),
    "break-glass": ("context", "break_glass"),
    "actor-token": ("context", "actor_token"),
}
FLAGS = {"yes": True, "no": False}
DOCUMENTED = [
    {
        "name": f"X-Gate-{name.title()}",
        "in": "header",
        "required": name in {"subject", "model"},
        "schema": {"type": "string", "maxLength": 8_192 if name == "actor-token" else 256},
    }
    for name in HEADERS
]


@router.get(
    "/forward-auth",
    responses={
        200: {"description": "allowed"},
        400: {"description": "a header cannot be read (problem details)"},
        401: {"description": "no valid API key or token"},
        403: {"description": "denied, or this key may not ask: X-Reason-Code says why it is denied"},
        503: {"description": "could not decide or record: never an answer"},
    },
    openapi_extra={"parameters": DOCUMENTED},
)
async def forward_auth(request: Request, gate: TheGate, presented: MayEvaluate) -> Response:
    """May this subject do this? 200 or 403; anything else is no answer, and the proxy refuses."""
    incoming = Incoming.of(request.scope, request.receive)
    (answer,) = await evaluate(gate, [read(incoming, presented, _members(request))])
    code, told = answer.told.reason.subject_sees, answer.told.reason.message
    response = Response() if answer.told.decision.allowed else problems.response(DENIED, told, code=code)
    response.headers["X-Decision-ID"], response.headers["X-Reason-Code"] = answer.id, code
    return response


def _members(request: Request) -> dict[str, Any]:
    """The evaluation that the headers describe. A header of this family that is unknown, or there twice, is refused."""
    made: dict[str, Any] = {"subject": {"type": "person"}, "action": {"name": "invoke"}, "resource": {"type": "model"}}
    seen: set[str] = set()
    for header, value in request.headers.items():
        name = header.removeprefix(PREFIX)
        if name == header:
            continue
        if name not in HEADERS or name in seen:
            what = "is there twice" if name in seen else "is no header of an evaluation"
            raise Invalid(f"{header[:60]}: {what}: the proxy sets each of {', '.join(HEADERS)} once")
        seen.add(name)
        if value:  # nginx drops a header that is set to nothing; others send it empty
            _put(made, HEADERS[name], value, header)
    return made


def _put(made: dict[str, Any], path: tuple[str, ...], value: str, header: str) -> None:
    at = made
    for part in path[:-1]:
        at = at.setdefault(part, {})
    if path[-1] in {"anonymizer", "conflict"}:
        if value not in FLAGS:
            raise Invalid(f"{header}: is neither yes nor no: send one of the two")
        at[path[-1]] = FLAGS[value]
    else:
        at[path[-1]] = value
