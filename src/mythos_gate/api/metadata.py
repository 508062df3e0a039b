"""What is offered, and where: AuthZEN metadata (Authorization API 1.0, section 9). Every URL is the configuration's."""

import importlib
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Response

from mythos_gate.api.deps import Gate, TheGate
from mythos_gate.errors import Misconfigured, NotFound
from mythos_gate.settings import Settings

PATH = "/.well-known/authzen-configuration"
ENDPOINTS = {
    "access_evaluation_endpoint": "/access/v1/evaluation",
    "access_evaluations_endpoint": "/access/v1/evaluations",
    "search_subject_endpoint": "/access/v1/search/subject",
    "search_resource_endpoint": "/access/v1/search/resource",
    "search_action_endpoint": "/access/v1/search/action",
}
AGE = 300  # seconds that it may be kept
router = APIRouter(tags=["decision"])


def made(settings: Settings) -> dict[str, str]:
    """The parameters, signed if there is a key. `Misconfigured` if it or the public URL cannot be used."""
    parameters = _parameters(settings)
    if settings.metadata_key is not None:
        # Few have a key, and who has none need not wait for the library at each start.
        signing = importlib.import_module("mythos_gate.api.signing")
        parameters["signed_metadata"] = signing.signed(parameters, settings.metadata_key)
    return parameters


def _parameters(settings: Settings) -> dict[str, str]:
    identifier = settings.public_url or f"http://{settings.host}:{settings.port}"
    try:
        url = urlsplit(identifier)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in {"http", "https"} or not url.hostname or {"?", "#"} & set(identifier):
        raise Misconfigured("MYTHOS_GATE_PUBLIC_URL is no URL like https://gate.example/tenant: without ? and #")
    base = identifier.rstrip("/")
    return {"policy_decision_point": identifier} | {name: f"{base}{path}" for name, path in ENDPOINTS.items()}


@router.get(PATH, response_model=dict[str, str])
async def metadata(gate: TheGate) -> Response:
    """The PDP's identifier and its endpoints; no key is needed."""
    return _answered(gate)


@router.get(PATH + "/{tenant:path}", response_model=dict[str, str])
async def metadata_of_path(tenant: str, gate: TheGate) -> Response:
    """The same, where the PDP's identifier has a path: that path stands behind the well-known one (9.2.1)."""
    if tenant != urlsplit(gate.metadata["policy_decision_point"]).path.strip("/"):
        raise NotFound("there is no PDP of this path")
    return _answered(gate)


def _answered(gate: Gate) -> Response:
    headers = {"Cache-Control": f"max-age={AGE}"}
    return Response(orjson.dumps(gate.metadata), headers=headers, media_type="application/json")
