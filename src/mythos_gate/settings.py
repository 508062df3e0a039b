"""What an operator can set, from the environment. Every name has a line in docs/operations.md."""

from functools import cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    origin: str = "mythos-gate.local/log"
    log_keys: Path | None = None  # the folder of the private keys that sign the log's checkpoints
    receipt_key: Path | None = None  # the private key that signs receipts
    witnesses: Path | None = None  # a file: who cosigns the log's heads
    witness_quorum: int | None = Field(None, ge=1)  # of them, for a head to be anchored; all if left out
    timestamp_url: str | None = None  # of an authority (RFC 3161)
    timestamp_roots: Path | None = None  # the certificates (PEM) that its own one leads to
    public_url: str | None = None
    metadata_key: Path | None = None  # a private Ed25519 key that signs the metadata
    host: str = "127.0.0.1"
    port: int = 8321
    deadline: float = Field(5.0, gt=0)  # seconds from a request's receipt to its answer
    cache: int = Field(50_000, ge=1_000)  # records of each noun that a process keeps in memory
    body_limit: int = Field(65_536, gt=0)  # bytes of a request
    import_limit: int = Field(16 * 2**20, gt=0)  # bytes of a file sent to an import


@cache
def root() -> Path:
    """The folder that holds policies/ and migrations/: the checkout, or the installed package's own copy."""
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    return checkout if (checkout / "policies" / "model.conf").is_file() else here
