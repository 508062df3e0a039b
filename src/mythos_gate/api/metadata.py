"""What is offered, and where: AuthZEN metadata (Authorization API 1.0, section 9). Every URL is the configuration's."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Response
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

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
UNUSABLE = "MYTHOS_GATE_METADATA_KEY names no private Ed25519 key, PEM or JWK"
router = APIRouter(tags=["decision"])


def made(settings: Settings) -> dict[str, str]:
    """The parameters, signed if there is a key. `Misconfigured` if it or the public URL cannot be used."""
    parameters = _parameters(settings)
    if settings.metadata_key is not None:
        parameters["signed_metadata"] = _signed(parameters, settings.metadata_key)
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


def _signed(parameters: Mapping[str, str], path: Path) -> str:
    """A JWS over the parameters and `iss` (9.1.1). Without a time in it, it is the same in every process."""
    key = _key(path)
    header, claims = (
        {"alg": "EdDSA", "kid": key.thumbprint()},
        {"iss": parameters["policy_decision_point"], **parameters},
    )
    with warnings.catch_warnings():
        # RFC 9864 would rather have it named Ed25519, which many verifiers do not know yet.
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(header, claims, key, algorithms=["EdDSA"])


def _key(path: Path) -> OKPKey:
    try:
        text = path.read_text(encoding="ascii")
        key = OKPKey.import_key(orjson.loads(text) if text.lstrip().startswith("{") else text)
    except (OSError, ValueError, JoseError) as error:
        raise Misconfigured(f"{UNUSABLE} ({path}): {error}") from error
    if not key.is_private or key.curve_name != "Ed25519":
        raise Misconfigured(f"{UNUSABLE} ({path})")
    return key


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
