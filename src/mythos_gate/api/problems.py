"""Errors as problem details (RFC 9457): the one table from what went wrong to a status."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mythos_gate import errors
from mythos_gate.api import body
from mythos_gate.api.deps import Gate
from mythos_gate.registry.kind import InvalidFile

MEDIA_TYPE = "application/problem+json"
# What stands below this path has errors of its own form (RFC 7644 3.12).
SCIM, SCIM_TYPE, ERROR = "/scim/", "application/scim+json", "urn:ietf:params:scim:api:messages:2.0:Error"


@dataclass(frozen=True, slots=True)
class Kind:
    """A problem type: the last part of its URN, its title and its status."""

    name: str
    title: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()


KINDS: dict[type[errors.GateError], Kind] = {
    errors.Invalid: Kind("invalid", "the request cannot be accepted", 400),
    errors.NotAuthenticated: Kind("not-authenticated", "authentication needed", 401, (("WWW-Authenticate", "Bearer"),)),
    errors.LockedOut: Kind("too-many-failures", "too many requests with keys that are not valid", 429),
    errors.NotPermitted: Kind("not-permitted", "not permitted", 403),
    errors.NotFound: Kind("not-found", "not found", 404),
    errors.Taken: Kind("taken", "the name is taken", 409),
    errors.UnderWay: Kind("under-way", "the same request is under way", 409, (("Retry-After", "1"),)),
    errors.Conflict: Kind("conflict", "not possible in the present state", 409),
    errors.Outdated: Kind("outdated", "changed in the meantime", 412),
    errors.Unconditional: Kind("unconditional", "a condition is needed", 428),
    errors.Reused: Kind("key-reused", "the idempotency key belongs to another request", 422),
    errors.TooLarge: Kind("too-large", "the request is too large", 413),
    errors.HeadersTooLarge: Kind("headers-too-large", "the headers are too large", 431),
    errors.NotDecided: Kind("not-decided", "no decision", 503, (("Retry-After", "1"),)),
    errors.NotRecorded: Kind("not-recorded", "decision not recorded", 503, (("Retry-After", "1"),)),
    errors.Misconfigured: Kind("misconfigured", "the service is misconfigured", 503),
}


def response(kind: Kind, detail: str, **more: Any) -> JSONResponse:
    """`more`: further members (RFC 9457 3.2), such as the `code` of a reason and the `errors` of a file."""
    content = {
        "type": f"urn:mythos-gate:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": f"urn:uuid:{uuid4()}",
        **{name: value for name, value in more.items() if value},
    }
    return JSONResponse(content, kind.status, dict(kind.headers), MEDIA_TYPE)


def _scim(kind: Kind, detail: str, **_more: Any) -> JSONResponse:
    said = {"invalid": {"scimType": "invalidValue"}, "taken": {"scimType": "uniqueness"}}.get(kind.name, {})
    content = {"schemas": [ERROR], "status": str(kind.status), **said, "detail": detail}
    return JSONResponse(content, kind.status, dict(kind.headers), SCIM_TYPE)


def _form(path: str) -> Callable[..., JSONResponse]:
    return _scim if path.startswith(SCIM) else response


def install(app: FastAPI) -> None:
    """Every error of the family, and the framework's own, leave as problems."""
    for error in KINDS:
        app.add_exception_handler(error, _of_gate)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _of_surprise)


async def _of_gate(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.GateError)
    gate: Gate = request.app.state.gate
    error = gate.counted(error, request.headers.get("authorization"))
    try:
        await gate.refusals.note(gate.log, request, error)
    except errors.NotRecorded as unrecorded:
        return of(unrecorded, request.url.path)
    return of(error, request.url.path)


def of(error: errors.GateError, path: str = "") -> JSONResponse:
    """In the form of the routes at this path."""
    kind = next(KINDS[each] for each in type(error).__mro__ if each in KINDS)
    lines = [asdict(each) for each in error.problems] if isinstance(error, InvalidFile) else None
    answer = _form(path)(kind, str(error), code=error.code, errors=lines)
    if isinstance(error, errors.LockedOut):
        answer.headers["Retry-After"] = str(error.seconds)
    return answer


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _form(request.url.path)(KINDS[errors.Invalid], body.told(error.errors()))


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title, headers = str(error.detail).lower(), dict(error.headers or {})
    told = {
        404: "there is nothing at this path: /openapi.json lists what there is",
        405: f"this method is not offered here: use {headers.get('Allow', 'another')}",
    }
    answer = _form(request.url.path)(Kind("http", title, error.status_code), told.get(error.status_code, title))
    answer.headers.update(headers)
    return answer


async def _of_surprise(request: Request, _error: Exception) -> JSONResponse:
    return surprise(request.url.path)


def surprise(path: str = "") -> JSONResponse:
    return _form(path)(Kind("internal", "internal error", 500), "something unforeseen happened; it was logged")
