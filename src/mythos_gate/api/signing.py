"""The signature of the metadata (AuthZEN Authorization API 1.0, 9.1.1)."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import orjson
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from mythos_gate.errors import Misconfigured

UNUSABLE = "MYTHOS_GATE_METADATA_KEY names no private Ed25519 key, PEM or JWK"


def signed(parameters: Mapping[str, str], path: Path) -> str:
    """A JWS over the parameters and `iss`; `Misconfigured` if the key cannot be used.

    Without a time in it, it is the same in every process.
    """
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
