import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import checkpoint
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey

LOG = SignerKey("example.com/log", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
WITNESS = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
WITNESS_KEY = VerifierKey("witness", WITNESS.public_key().public_bytes_raw(), Kind.COSIGNATURE)
HEAD = Checkpoint(LOG.name, 7, b"r" * 32)


def test_a_checkpoint_is_opened_by_the_log_s_key_alone():
    signed = checkpoint.signed(HEAD, [LOG])
    assert checkpoint.opened(signed, LOG.verifier, LOG.name) == HEAD
    with pytest.raises(BadNote, match="another log"):
        checkpoint.opened(signed, LOG.verifier, "example.com/other")


def test_a_witness_adds_its_line():
    signed = checkpoint.signed(HEAD, [LOG])
    line = checkpoint.cosign(signed, "witness", WITNESS, 1_700_000_000)
    both = checkpoint.with_signatures(signed, [line])
    assert both == checkpoint.with_signatures(both, [line])
    assert checkpoint.opened(both, LOG.verifier, LOG.name) == HEAD
    assert checkpoint.cosigned(both, [WITNESS_KEY]) == {"witness": 1_700_000_000}
    assert checkpoint.cosigned(signed, [WITNESS_KEY]) == {}
