"""What an operator can set, from the environment. Every name has a line in docs/operations.md."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mythos_gate.errors import Misconfigured


def _named(origin: str) -> str:
    """C2SP signed-note: what the name of a key may be."""
    if not origin or "+" in origin or not origin.isprintable() or any(map(str.isspace, origin)):
        raise ValueError("the log's name has no spaces, no plus sign and no control character, and is not empty")
    return origin


Origin = Annotated[str, AfterValidator(_named)]


class Settings(BaseSettings):
    """`MYTHOS_GATE_<NAME>`, except for the usual `DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix="MYTHOS_GATE_", extra="ignore")

    database_url: str | None = Field(None, validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    service_url: str | None = None
    reader_url: str | None = None
    compliance_url: str | None = None
    sequencer_url: str | None = None
    production: bool = False
    state: Path | None = None
    digest_key: SecretStr | None = None
    origin: Origin = "mythos-gate.local/log"
    log_keys: Path | None = None  # the folder of the private keys that sign the log's checkpoints
    receipt_key: Path | None = None  # the private key that signs receipts
    witnesses: Path | None = None  # a file: who cosigns the log's heads
    witness_quorum: int | None = Field(None, ge=1)  # of them, for a head to be anchored; all if left out
    timestamp_url: str | None = None  # of an authority (RFC 3161)
    timestamp_roots: Path | None = None  # the certificates (PEM) that its own one leads to
    issuers: Path | None = None  # a file: whose tokens are taken, and what they make their holders
    access_log: bool = False
    public_url: str | None = None
    metadata_key: Path | None = None  # a private Ed25519 key that signs the metadata
    host: str = "127.0.0.1"
    port: int = 8321
    deadline: float = Field(5.0, gt=0)  # seconds from a request's receipt to its answer
    cache: int = Field(50_000, ge=1_000)  # records of each noun that a process keeps in memory
    body_limit: int = Field(65_536, gt=0)  # bytes of a request
    change_request_days: float = Field(7, gt=0)  # until a change request expires
    invitation_days: float = Field(7, gt=0)  # until an invitation expires
    approval_paths: int = Field(500, ge=0)  # newly open, above which a policy takes a third person
    approval_ratio: float = Field(2, gt=0)  # of paths after to before, likewise
    stage_ratio: float = Field(10, gt=0)  # above which it starts with some
    import_limit: int = Field(16 * 2**20, gt=0)  # bytes of a file sent to an import

    def __init__(self, **given: Any) -> None:
        """`Misconfigured`: which setting, and what is wrong with it; not what it was, which may be a secret."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = [f"MYTHOS_GATE_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
            raise Misconfigured("; ".join(wrong)) from None


@cache
def root() -> Path:
    """The folder that holds policies/ and migrations/: the checkout, or the installed package's own copy."""
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    return checkout if (checkout / "policies" / "model.conf").is_file() else here
