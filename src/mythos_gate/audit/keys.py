"""The log's private keys: files in PEM (PKCS #8, Ed25519), readable by their owner alone, never in the database."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mythos_gate.audit.note import SignerKey
from mythos_gate.errors import Misconfigured


def make(path: Path, name: str) -> SignerKey:
    """A new key in a new file. `FileExistsError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return SignerKey(name, key)


def read(path: Path, name: str) -> SignerKey:
    """The key of a file, to sign under this name. `Misconfigured`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured(f"{path} holds no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} holds another key than Ed25519")
    return SignerKey(name, key)
