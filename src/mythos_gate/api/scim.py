"""SCIM 2.0 (RFC 7644): the routes by which an organization's identity provider writes its people."""

import asyncio
import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from mythos_gate.api import body
from mythos_gate.api.deps import Gate, MayProvision, TheGate
from mythos_gate.api.idempotency import Once
from mythos_gate.api.problems import SCIM_TYPE
from mythos_gate.api.text import is_text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid

PREFIX = "/scim/v2"
router = APIRouter(prefix=PREFIX, tags=["scim"])


async def read(request: Request, gate: TheGate, caller: MayProvision) -> Response:
    """As RFC 7644 says."""
    return await _served(request, gate, caller, writes=False)


async def write(request: Request, gate: TheGate, caller: MayProvision) -> Response:
    """As RFC 7644 says; one change of the registry."""
    return await _served(request, gate, caller, writes=True)


async def _served(request: Request, gate: Gate, caller: Caller, *, writes: bool) -> Response:
    if not all(is_text(each) for each in (*request.query_params.values(), *request.path_params.values())):
        raise Invalid(f"an id or a parameter is too long, or {body.UNSTORABLE}")
    sent = await _body(request)
    # The protocol's library takes a third of a start: only where a provider writes is it there.
    directory = await asyncio.to_thread(importlib.import_module, "mythos_gate.api.scim_directory")
    base = f"{str(gate.settings.public_url or request.base_url).rstrip('/')}{PREFIX}"
    path = request.scope["path"].removeprefix(PREFIX)  # of a URL, line feeds would be dropped
    answer: Response = await directory.answered(request, base, path, sent, directory.Directory(gate, caller, writes))
    return answer


async def _body(request: Request) -> bytes:
    """As sent, if it is I-JSON and can be stored; its shape and its type are the protocol's."""
    sent = await request.body()
    if sent:
        body.members(body.JSON, sent)
    if b"\\u0000" in sent:
        raise Invalid(f"the body {body.UNSTORABLE}")
    return sent


def _parameter(name: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}}


SHOWN = [_parameter(name) for name in ("attributes", "excludedAttributes")]
FOUND = [_parameter("filter"), *(_parameter(name, "integer") for name in ("startIndex", "count")), *SHOWN]
ONE = {"name": "identifier", "in": "path", "required": True, "schema": {"type": "string"}}
OBJECT = {SCIM_TYPE: {"schema": {"type": "object", "required": ["schemas"]}}}


def _add(method: str, path: str, parameters: Sequence[Mapping[str, Any]] = (), status: int = 200) -> None:
    """The parameters, and bodies as well, are read by the protocol's library: here is what is told of them."""
    extra: dict[str, Any] = {"parameters": [*([ONE] if "{" in path else []), *parameters]}
    if method in {"POST", "PUT", "PATCH"}:
        extra["requestBody"] = {"required": True, "content": OBJECT}
    reads = method == "GET" or path.endswith(".search")
    router.add_api_route(
        path,
        read if reads else write,
        methods=[method],
        status_code=status,
        response_class=Response,
        responses={} if status == 204 else {status: {"content": OBJECT}},
        operation_id=f"scim_{method.lower()}{re.sub('[^A-Za-z]+', '_', path).lower()}".strip("_"),
        openapi_extra=extra,
        route_class_override=APIRoute if reads else Once,
    )


_add("GET", "/ServiceProviderConfig")
for described in ("/ResourceTypes", "/Schemas"):
    _add("GET", described)
    _add("GET", f"{described}/{{identifier}}")
_add("POST", "/.search")
for noun in ("/Users", "/Groups"):
    _add("GET", noun, FOUND)
    _add("POST", noun, status=201)
    _add("POST", f"{noun}/.search")
    _add("GET", f"{noun}/{{identifier}}", SHOWN)
    _add("PUT", f"{noun}/{{identifier}}", SHOWN)
    _add("PATCH", f"{noun}/{{identifier}}", SHOWN)
    _add("DELETE", f"{noun}/{{identifier}}", status=204)
