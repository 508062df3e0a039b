"""The OpenAPI document: what FastAPI knows of the routes, with every status that they can answer."""

from typing import Any

from mythos_gate.api.problems import ERROR, KINDS, MEDIA_TYPE, SCIM, SCIM_TYPE

# What needs no key.
PUBLIC = frozenset(
    {
        "/health/live",
        "/health/ready",
        "/.well-known/authzen-configuration",
        "/.well-known/authzen-configuration/{tenant}",
        "/openapi.json",
    }
)
# The log's tree, for everybody.
TREE = frozenset(
    {"/checkpoint", "/tile/{level}/{index}", "/v1/log/consistency", "/v1/log/keys", "/v1/log/timestamps/{size}"}
)
# Whoever accepts an invitation has no key, and an issuer's token only where those are taken.
INVITED = frozenset({"/v1/invitations/accept"})
TITLES = {415: "the body is of another type", **{kind.status: kind.title for kind in KINDS.values()}}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is of a reason catalogue, where one fits; `errors` are those of a file.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}

SCIM_ERROR = {
    "type": "object",
    "description": "RFC 7644 3.12",
    "required": ["schemas", "status"],
    "properties": {
        "schemas": {"const": [ERROR]},
        "status": {"type": "string"},
        "scimType": {"type": "string"},
        "detail": {"type": "string"},
    },
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The same with our problems, our security scheme, and the schemas of bodies that are read by hand."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {"Problem": PROBLEM, "ScimError": SCIM_ERROR}
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an API key, or an issuer's token"}
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schemas |= content["schema"].pop("$defs", {})
            _complete(operation, method, path)
    return document


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own, for which the gate answers 400
    media, name = (SCIM_TYPE, "ScimError") if path.startswith(SCIM) else (MEDIA_TYPE, "Problem")
    for status in _statuses(operation, method, path):
        told = responses.setdefault(str(status), {"description": TITLES[status]})
        told.setdefault("content", {media: {"schema": {"$ref": f"#/components/schemas/{name}"}}})
    if path not in PUBLIC | TREE:
        operation["security"] = [{"key": []}, *([{}] if path in INVITED else [])]


def _statuses(operation: dict[str, Any], method: str, path: str) -> list[int]:
    """The problems that a route can answer with, by what it takes."""
    if path in PUBLIC:
        return [503] if path.endswith("/ready") else [404] if "{" in path else []
    if path in TREE:
        return [400, 404, 503]
    found = [400, 401, 403, 429, 503]
    if "{" in path or method != "get":
        found.append(404)
    if method != "get":
        found += [409, 412]
    if "requestBody" in operation:
        found.append(413)
    if "requestBody" in operation and path.startswith(SCIM):
        found.append(415)
    headers = {each["name"].lower() for each in operation.get("parameters", ()) if each["in"] == "header"}
    if "if-match" in headers:
        found.append(428)
    if "idempotency-key" in headers:
        found.append(422)
    return found
