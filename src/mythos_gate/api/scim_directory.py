"""SCIM 2.0 (RFC 7644) by the protocol of scim2-server: one organization's people and groups, over the registry."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from types import ModuleType
from typing import Any

import orjson
from fastapi import Request, Response
from scim2_models import (
    InvalidFilterException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService
from scim2_server.storage import AsyncScimStorage, SearchPage
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.api.deps import Gate, read_only
from mythos_gate.api.resources import writer
from mythos_gate.api.scim_schemas import DESCRIBED, PROVIDER
from mythos_gate.authn.api_keys import Caller
from mythos_gate.registry import groups, provisioning
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.provisioning import Entry, Page


class Service(ScimService):
    """The same, but that a PATCH is answered with what came of it, which may not be what was asked for."""

    def patch_response(
        self, base_url: str, resource: Resource[Any], response_parameters: ResponseParameters[Any]
    ) -> ScimResponse:
        return self.replacement_response(base_url, resource, response_parameters)

    def schemas(self, location: str, query: Mapping[str, str]) -> ScimResponse:
        return DESCRIBING.schemas(location, query)

    def schema(self, location: str, schema_id: str, query: Mapping[str, str]) -> ScimResponse:
        return DESCRIBING.schema(location, schema_id, query)


SERVICE, DESCRIBING = Service(PROVIDER), ScimService(DESCRIBED)

# --- where users and groups are ---------------------------------------------------------------------------------

NOUNS: Mapping[str, ModuleType] = {"User": provisioning, "Group": groups}


class _Unchanged(Exception):
    """Nothing was to be done, so that nothing is recorded."""


@dataclass
class Directory(AsyncScimStorage):
    """One organization's, for one request: whatever it writes is one change of the registry."""

    gate: Gate
    caller: Caller
    writes: bool
    _connection: AsyncConnection = field(init=False)
    _change: Change = field(init=False)

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        if not self.writes:
            async with read_only(self.gate) as self._connection:
                yield
            return
        try:
            async with self.gate.registry.change("provisioned", self.caller.id) as self._change:
                self._connection = self._change.connection
                yield
                if not self._change.details:
                    raise _Unchanged  # noqa: TRY301  so that nothing is committed
        except _Unchanged:
            pass

    @property
    def _writer(self) -> Writer:
        return provisioning.provider(writer(self.gate, self.caller))

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,  # noqa: ARG002
    ) -> Resource[Any]:
        noun = NOUNS[str(resource_type.name)]
        return _resource(resource_type, await noun.read(self._connection, self.caller, resource_id, lock=self.writes))

    async def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,  # noqa: ARG002  of cursors, which are not offered
    ) -> SearchPage:
        """Of several types one after the other."""
        wanted = _equal(search_request.filter.ast) if search_request.filter else {}
        total, resources = 0, list[Resource[Any]]()
        first, count = (search_request.start_index or 1) - 1, search_request.count or 0
        for each in resource_types:
            noun = NOUNS[str(each.name)]
            equal = _known(wanted, noun.EQUAL, alone=len(resource_types) == 1)
            if equal is None:
                continue
            offset, limit = max(first - total, 0), max(count - len(resources), 0)
            page: Page = await noun.page(self._connection, self.caller, equal, offset, limit)
            total += page.total
            resources += [_resource(each, entry) for entry in page.entries]
        return SearchPage(total, resources)

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        noun = NOUNS[str(resource_type.name)]
        return await self._now(resource_type, await noun.create(self._change, resource.model_dump(), self._writer))

    async def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,  # noqa: ARG002  the locked one's, that `get` read
    ) -> Resource[Any]:
        identifier = str(resource.id)
        await NOUNS[str(resource_type.name)].replace(self._change, identifier, resource.model_dump(), self._writer)
        return await self._now(resource_type, identifier)

    async def delete(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        expected_version: str | None = None,  # noqa: ARG002  as above
    ) -> None:
        await NOUNS[str(resource_type.name)].remove(self._change, resource_id, self._writer)

    async def _now(self, resource_type: ResourceType, identifier: str) -> Resource[Any]:
        found = await NOUNS[str(resource_type.name)].read(self._connection, self.caller, identifier)
        return _resource(resource_type, found)


def _resource(resource_type: ResourceType, entry: Entry) -> Resource[Any]:
    digest = sha256(orjson.dumps(entry.attributes, option=orjson.OPT_SORT_KEYS)).hexdigest()
    meta = {
        "resourceType": resource_type.name,
        "created": entry.created,
        "lastModified": entry.changed,
        "version": f'W/"{digest[:32]}"',
    }
    there = {name: value for name, value in entry.attributes.items() if value is not None}
    model = SERVICE.get_model(resource_type)
    schemas = [str(model.__schema__), *(name for name in there if name.startswith("urn:"))]
    return model.model_validate({**there, "schemas": schemas, "meta": meta})


# --- filters ----------------------------------------------------------------------------------------------------

PARTIAL = 'this filter is not supported: use ATTRIBUTE eq "VALUE", more than one joined by and'


def _equal(node: FilterNode) -> dict[str, str]:
    """What each attribute has to be equal to, by its name in lower case. `InvalidFilterException` for all else."""
    match node:
        case Comparison(attr_path=path, op=CompareOperator.eq, value=str() as value) if path.sub_attr is None:
            return {path.attr.lower(): value}
        case LogicalExpr(op=LogicalOperator.and_, terms=terms):
            return {name: value for term in terms for name, value in _equal(term).items()}
        case _:
            raise InvalidFilterException(detail=PARTIAL)


def _known(wanted: Mapping[str, str], names: Mapping[str, str], *, alone: bool) -> dict[str, str] | None:
    """By the names of one type's attributes; None where it lacks one, which then nothing of it is equal to."""
    known = {name.lower(): name for name in names}
    if wanted.keys() <= known.keys():
        return {known[name]: value for name, value in wanted.items()}
    if alone:
        raise InvalidFilterException(detail=f"{PARTIAL}; here of {', '.join(names)}")
    return None


async def answered(request: Request, base: str, path: str, sent: bytes, directory: Directory) -> Response:
    """What the protocol makes of a request to this path below the base URL."""
    asked = ScimRequest(
        method=request.method, base_url=base, path=path, query=request.query_params, headers=request.headers, body=sent
    )
    try:
        answer = await AsyncScimHandler(SERVICE, directory).handle(asked)
    except SCIMException as error:
        answer = SERVICE.error_response(error)
    content = b"" if answer.body is None else orjson.dumps(answer.body)
    return Response(content, answer.status, answer.headers)
