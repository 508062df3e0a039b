import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import note
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey

LOG = SignerKey("example.com/log", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
OTHER = SignerKey("other", Ed25519PrivateKey.from_private_bytes(b"2" * 32))
TEXT = "a\n\nb\n"


def test_who_signed_is_known_and_others_are_only_named():
    signed = note.sign(TEXT, [LOG, OTHER])
    assert note.Note(TEXT, [(LOG.verifier, None)], ["other"]) == note.open(signed, [LOG.verifier])
    with pytest.raises(BadNote, match="known key"):
        note.open(signed, [])


def test_keys_can_be_read_again():
    assert VerifierKey.parse(LOG.verifier.text) == LOG.verifier
    assert SignerKey.parse(LOG.secret()).verifier == LOG.verifier
    witness = VerifierKey("w", LOG.verifier.public, Kind.COSIGNATURE)
    assert VerifierKey.parse(witness.text) == witness


def test_a_flipped_bit_is_refused():
    signed = note.sign(TEXT, [LOG])
    for at in range(len(signed) * 8):
        flipped = bytearray(signed)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(BadNote):
            note.open(bytes(flipped), [LOG.verifier])
