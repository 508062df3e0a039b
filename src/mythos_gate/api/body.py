"""Bodies, read by hand: after the caller is known, within the limit, and as I-JSON (RFC 7493)."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Never, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from mythos_gate.errors import Invalid

Shape = TypeVar("Shape", bound=BaseModel)
UNSTORABLE = "must not hold U+0000 or a lone surrogate"
UNSTORABLES = frozenset({"string_pattern_mismatch", "string_unicode"})
JSON = "application/json"
DIGITS, LONG = b"0123456789", 16
LONG_NUMBER = re.compile(rb"[0-9]{16}")


def documented(shape: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """What the OpenAPI document says of a route whose body is read by hand."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


CSV = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}


async def file(request: Request) -> bytes:
    """The CSV file sent; `Invalid`, or `TooLarge`."""
    sent = await request.body()
    if _type_of(request.headers.get("content-type", "")) != "text/csv":
        raise Invalid("the file must be sent with Content-Type: text/csv")
    return sent


async def parsed(request: Request) -> dict[str, Any]:
    """The members of the JSON object sent; `Invalid`, or `TooLarge`."""
    return members(request.headers.get("content-type", ""), await request.body())


def members(content_type: str, sent: bytes) -> dict[str, Any]:
    """The members of a JSON object; `Invalid`."""
    if content_type != JSON and _type_of(content_type) != JSON:
        raise Invalid("the body must be sent with Content-Type: application/json")
    found = _quickly(sent) or _strictly(sent)
    if not isinstance(found, dict):
        raise Invalid("the body must be a JSON object")
    return found


def _quickly(sent: bytes) -> Any:
    """The same in a fraction of the time, or None where only a strict look tells.

    orjson keeps the last of two members of one name. Without an escape each string has two quotation marks, so that as
    many as were sent stand in what was read only if nothing was dropped. Longer integers would become floats.
    """
    if b"\\" in sent or (len(sent) - len(sent.translate(None, DIGITS)) >= LONG and LONG_NUMBER.search(sent)):
        return None
    try:
        found = orjson.loads(sent)
        return found if orjson.dumps(found).count(b'"') == sent.count(b'"') else None
    except (orjson.JSONDecodeError, TypeError):  # the latter where it is nested too deep to be written
        return None


def _strictly(sent: bytes) -> Any:
    try:
        found = json.loads(sent.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        orjson.dumps(found)  # lone surrogates and integers over 64 bits cannot be recorded
    except (ValueError, RecursionError, TypeError) as error:
        raise Invalid(f"the body is not I-JSON (RFC 7493): {_first_line(error)}") from error
    return found


def _type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def shaped(shape: type[Shape], members: Any) -> Shape:
    """The members as the route wants them. `Invalid` says where and what, never the value: it may be a person's."""
    try:
        return shape.model_validate(members)
    except ValidationError as error:
        raise Invalid(told(error.errors())) from None


def told(errors: Iterable[Mapping[str, Any]]) -> str:
    """Where and what, as Pydantic found it; never the value, nor the name of a member that we do not know."""
    return "; ".join(_told(each) for each in errors)


def _told(error: Mapping[str, Any]) -> str:
    place, what = list(error["loc"]), UNSTORABLE if error["type"] in UNSTORABLES else error["msg"].lower()
    if error["type"] == "extra_forbidden":
        place, what = place[:-1], "one of the members is not known here: /openapi.json has those that are"
    return f"{'.'.join(str(part) for part in place)}: {what}".removeprefix(": ")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return made


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200].lower() or type(error).__name__
