"""What a PEP asks: a subject wants to invoke a capability of a model, from somewhere."""

from dataclasses import dataclass, field

from mythos_gate.authn.act import Chain


@dataclass(slots=True)
class Location:
    """A place as the gateway reports it. `country` and `region` are normalised (`countries`)."""

    country: str | None = None
    region: str | None = None  # ISO 3166-2
    anonymizer: bool = False
    conflict: bool = False


@dataclass(slots=True)
class Request:
    """One question. What the caller says of the person is not in it: the gate's own records count."""

    subject_type: str
    subject_id: str
    action: str
    capability: str | None
    purpose: str | None
    resource_type: str
    model: str
    version: str | None
    location: Location = field(default_factory=Location)
    endpoint: str | None = None
    mfa: str | None = None
    break_glass: str | None = None
    chain: Chain | None = None  # of an agent that showed a token

    @property
    def by_agent(self) -> bool:
        return self.subject_type == "agent"

    @property
    def asked_model(self) -> str:
        """The model, or an empty name: nothing is on record for another kind of resource."""
        return self.model if self.resource_type == "model" else ""

    @property
    def asked_capability(self) -> str | None:
        """The capability, or none: `invoke` is the only action that grants speak of."""
        return self.capability if self.action == "invoke" else None
