"""What the SCIM service offers: its users, groups and settings, as it publishes them (RFC 7643)."""

from typing import Annotated, Any

from pydantic import Field, model_validator
from scim2_models import (
    URN,
    Address,
    AnyExtension,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    External,
    Filter,
    Mutability,
    Patch,
    PhoneNumber,
    Photo,
    Reference,
    Required,
    Resource,
    ResourceType,
    Returned,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

from mythos_gate.registry.columns import COUNTRIES
from mythos_gate.registry.provisioning import OWN
from mythos_gate.terms import Employment

MOST_RESULTS = 200


class Name(ComplexAttribute):
    """The parts of somebody's name."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class Email(ComplexAttribute):
    """An address; the registry keeps the primary one, else that at work, else the first."""

    value: str | None = None
    type: str | None = Field(None, examples=["work", "home", "other"])
    primary: bool | None = None


class GroupMembership(ComplexAttribute):
    """A group that somebody is in."""

    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    ref: Annotated[Reference["Group"] | None, Mutability.read_only] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display: Annotated[str | None, Mutability.read_only] = None


class AcceptedUser(Resource[AnyExtension]):
    """Of the attributes of RFC 7643 4.1 those that the gate has a use for."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    name: Name | None = None
    display_name: str | None = None
    active: bool | None = None
    emails: list[Email] | None = None
    groups: Annotated[list[GroupMembership] | None, Mutability.read_only] = None


class Manager(ComplexAttribute):
    """Who somebody reports to; Entra sends the id alone."""

    value: Annotated[str | None, CaseExact.true] = None
    ref: Reference["User"] | None = Field(  # type: ignore[type-arg]
        None, serialization_alias="$ref", validation_alias="$ref"
    )

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        match value:
            case str():
                return {"value": value}
            case [dict() as only]:
                return only
            case _:
                return value


class EnterpriseUser(Extension):
    """RFC 7643 4.3. Kept for the provider; nothing depends on it."""

    __schema__ = URN("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")

    employee_number: str | None = None
    cost_center: str | None = None
    organization: str | None = None
    division: str | None = None
    department: str | None = None
    manager: Manager | None = None


class GateUser(Extension):
    """What export control needs to know besides: how somebody is employed, and where they work."""

    __schema__ = URN(OWN)

    employment: str | None = Field(None, examples=[Employment.EMPLOYEE.value, Employment.CONTRACTOR.value])
    work_country: str | None = Field(None, examples=sorted(COUNTRIES))


class AcceptedMember(ComplexAttribute):
    """A user who is in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference["User"] | None, Mutability.immutable] = Field(  # type: ignore[type-arg]
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])


class AcceptedGroup(Resource[Any]):
    """Who is in it, and nothing else: it gives nobody anything."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    members: list[AcceptedMember] | None = None


CONFIG = ServiceProviderConfig(
    documentation_uri=None,
    patch=Patch(supported=True),
    bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
    filter=Filter(supported=True, max_results=MOST_RESULTS),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=False),
    etag=ETag(supported=True),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="Bearer token",
            description="an API key with the role scim, or an issuer's token: of one organization",
            primary=True,
        )
    ],
)
# What Entra departs from RFC 7644 in: further attributes, values of a removal, filters that match nothing yet.
TOLERANT = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
TYPES = [
    ResourceType.from_resource(AcceptedUser[EnterpriseUser | GateUser]),
    ResourceType.from_resource(AcceptedGroup),
]
PROVIDER = ScimProvider([AcceptedUser, EnterpriseUser, GateUser, AcceptedGroup], TYPES, CONFIG, TOLERANT)

# --- as they are published --------------------------------------------------------------------------------------

# With what the gate takes no notice of, which some clients do not start without. To accept it as read-only would not
# do: a PATCH of it would be refused, and with it what else it says.


class User(AcceptedUser[AnyExtension]):
    """A person of the organization."""

    title: Annotated[str | None, Mutability.read_only] = None
    preferred_language: Annotated[str | None, Mutability.read_only] = None
    profile_url: Annotated[Reference[External] | None, Mutability.read_only] = None
    password: Annotated[str | None, Mutability.read_only, Returned.never] = None
    phone_numbers: Annotated[list[PhoneNumber] | None, Mutability.read_only] = None
    photos: Annotated[list[Photo] | None, Mutability.read_only] = None
    addresses: Annotated[list[Address] | None, Mutability.read_only] = None


class Member(AcceptedMember):
    """A user who is in a group."""

    display: Annotated[str | None, Mutability.read_only] = None


class Group(AcceptedGroup):
    """Who is in it, and nothing else: it gives nobody anything."""

    members: list[Member] | None = None  # type: ignore[assignment]


DESCRIBED = ScimProvider([User, EnterpriseUser, GateUser, Group], TYPES, CONFIG)
