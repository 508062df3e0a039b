"""C2SP tlog-checkpoint and tlog-cosignature."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit import checkpoint, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey

ORIGIN = "example.com/log"
LOG = SignerKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"1" * 32))
WITNESS = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
WITNESS_KEY = VerifierKey("witness", WITNESS.public_key().public_bytes_raw(), Kind.COSIGNATURE)
HEAD = Checkpoint(ORIGIN, 7, b"r" * 32)
ROOT = "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="
TEXT = f"{ORIGIN}\n7\n{ROOT}\n"
SIGNED = checkpoint.signed(HEAD, [LOG])
AT = 1_700_000_000
COSIGNED = checkpoint.with_signatures(SIGNED, [checkpoint.cosign(SIGNED, "witness", WITNESS, AT)])

LINES = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=1)
CHECKPOINTS = st.builds(
    Checkpoint,
    LINES,
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(LINES, max_size=3).map(tuple),
)


def test_the_text_is_as_specified():
    assert HEAD.format() == TEXT
    assert f"{TEXT}\n{LOG.line(TEXT)}\n".encode() == SIGNED


@given(CHECKPOINTS)
def test_what_was_signed_can_be_opened(head):
    assert head == Checkpoint.parse(head.format())
    assert head == checkpoint.opened(checkpoint.signed(head, [LOG]), LOG.verifier, head.origin)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n7\n",
        TEXT[:-1],
        f"\n7\n{ROOT}\n",
        f"{ORIGIN}\n\n{ROOT}\n",
        f"{ORIGIN}\n7\n\n",
        f"{TEXT}\n",
        f"{TEXT}x",
        f"{TEXT}x\n\ny\n",
        TEXT.replace("7", "07"),
        TEXT.replace("7", "+7"),
        TEXT.replace("7", " 7"),
        TEXT.replace("7", "-7"),
        TEXT.replace("7", "７"),
        TEXT.replace("7", str(2**63)),
        TEXT.replace("7", "seven"),
        TEXT.replace("=", ""),
        TEXT.replace("I=", "J="),
        TEXT.replace(ROOT, ROOT[:40]),
        TEXT.replace(ROOT, "YmFuYW5hcw=="),
        TEXT.replace("\n", "\r\n"),
    ],
    ids=repr,
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 7, b"r" * 32, ()),
        ("a\nb", 7, b"r" * 32, ()),
        ("a\tb", 7, b"r" * 32, ()),
        (ORIGIN, -1, b"r" * 32, ()),
        (ORIGIN, 2**63, b"r" * 32, ()),
        (ORIGIN, 7, b"r" * 31, ()),
        (ORIGIN, 7, b"r" * 32, ("",)),
        (ORIGIN, 7, b"r" * 32, ("a\n",)),
    ],
)
def test_what_a_checkpoint_cannot_say(origin, size, root, extensions):
    with pytest.raises(BadNote):
        Checkpoint(origin, size, root, extensions)


def test_a_checkpoint_is_opened_by_the_log_s_key_alone():
    assert checkpoint.opened(COSIGNED, LOG.verifier, ORIGIN) == HEAD
    old = SignerKey(ORIGIN, WITNESS).verifier
    assert checkpoint.opened(SIGNED, [old, LOG.verifier], ORIGIN) == HEAD
    with pytest.raises(BadNote, match="another log"):
        checkpoint.opened(SIGNED, LOG.verifier, "example.com/other")
    with pytest.raises(BadNote, match="known key"):
        checkpoint.opened(SIGNED, old, ORIGIN)
    with pytest.raises(BadNote, match="type 1"):
        checkpoint.opened(COSIGNED, [LOG.verifier, WITNESS_KEY], ORIGIN)


def test_a_cosignature_is_as_specified():
    line = checkpoint.cosign(SIGNED, "witness", WITNESS, AT)
    signature = AT.to_bytes(8) + WITNESS.sign(f"cosignature/v1\ntime {AT}\n{TEXT}".encode())
    assert f"— witness {note.base64(WITNESS_KEY.key_id + signature)}" == line
    assert checkpoint.cosigned(COSIGNED, [WITNESS_KEY]) == {"witness": AT}
    assert checkpoint.cosigned(SIGNED, [WITNESS_KEY]) == {}
    assert checkpoint.cosigned(COSIGNED, []) == {}


def test_a_plain_signature_is_no_cosignature_nor_the_reverse():
    plain = VerifierKey("witness", WITNESS_KEY.public)
    by_hand = checkpoint.with_signatures(SIGNED, [SignerKey("witness", WITNESS).line(TEXT)])
    assert checkpoint.cosigned(by_hand, [WITNESS_KEY]) == {}
    with pytest.raises(BadNote, match="known key"):
        note.open(COSIGNED, [plain])
    with pytest.raises(BadNote, match="type 4"):
        checkpoint.cosigned(by_hand, [plain])
    # Under the id of the one, the signature of the other.
    for key, signature in (
        (plain, AT.to_bytes(8) + WITNESS.sign(f"cosignature/v1\ntime {AT}\n{TEXT}".encode())),
        (WITNESS_KEY, WITNESS.sign(TEXT.encode())),
        (WITNESS_KEY, AT.to_bytes(8) + WITNESS.sign(TEXT.encode())),
    ):
        posing = checkpoint.with_signatures(SIGNED, [note.signature_line(key, signature)])
        with pytest.raises(BadNote):
            note.open(posing, [key])


@pytest.mark.parametrize("at", [2**63, 2**64 - 1])
def test_a_cosignature_has_a_time_within_63_bits(at):
    line = checkpoint.cosign(SIGNED, "witness", WITNESS, at)
    with pytest.raises(BadNote, match="beyond"):
        checkpoint.cosigned(checkpoint.with_signatures(SIGNED, [line]), [WITNESS_KEY])


def test_another_time_or_another_text_spoils_a_cosignature():
    later = checkpoint.signed(Checkpoint(ORIGIN, 8, HEAD.root), [LOG])
    line = checkpoint.cosign(SIGNED, "witness", WITNESS, AT)
    moved = WITNESS_KEY.key_id + (AT + 1).to_bytes(8) + note.from_base64(line.rpartition(" ")[2])[12:]
    for signed, added in ((later, line), (SIGNED, f"— witness {note.base64(moved)}")):
        with pytest.raises(BadNote, match="does not hold"):
            checkpoint.cosigned(checkpoint.with_signatures(signed, [added]), [WITNESS_KEY])


def test_two_witnesses_have_two_keys():
    twin = VerifierKey("twin", WITNESS_KEY.public, Kind.COSIGNATURE)
    both = checkpoint.with_signatures(COSIGNED, [checkpoint.cosign(SIGNED, "twin", WITNESS, AT)])
    with pytest.raises(BadNote, match="same key"):
        checkpoint.cosigned(both, [WITNESS_KEY, twin])


def test_a_witness_with_two_keys_is_one_witness():
    new = Ed25519PrivateKey.from_private_bytes(b"3" * 32)
    new_key = VerifierKey("witness", new.public_key().public_bytes_raw(), Kind.COSIGNATURE)
    for at in (AT - 1, AT + 1):
        both = checkpoint.with_signatures(COSIGNED, [checkpoint.cosign(SIGNED, "witness", new, at)])
        assert checkpoint.cosigned(both, [WITNESS_KEY, new_key]) == {"witness": max(AT, at)}


def test_signatures_are_added_once_and_only_signatures():
    line = COSIGNED.decode().splitlines()[-1]
    assert checkpoint.with_signatures(COSIGNED, [line, line]) == COSIGNED
    assert checkpoint.with_signatures(COSIGNED, []) == COSIGNED
    for other in ("", "x", f"{line}\n\n{line}"):
        with pytest.raises(BadNote):
            checkpoint.with_signatures(SIGNED, [other])


def test_a_flipped_bit_takes_away_what_it_touches():
    seen = set()
    for at in range(0, len(COSIGNED) * 8, 7):  # in every byte one
        flipped = bytearray(COSIGNED)
        flipped[at // 8] ^= 1 << at % 8
        opened = attempt(lambda given=bytes(flipped): checkpoint.opened(given, LOG.verifier, ORIGIN))
        witnessed = attempt(lambda given=bytes(flipped): checkpoint.cosigned(given, [WITNESS_KEY]))
        assert opened in (HEAD, None)
        assert witnessed in ({"witness": AT}, {}, None)
        assert opened is None or not witnessed
        seen.add((opened is not None, bool(witnessed)))
    assert seen == {(False, False), (True, False), (False, True)}


def attempt(do):
    try:
        return do()
    except BadNote:
        return None


def test_the_size_is_read_only_after_the_signature():
    with pytest.raises(BadNote, match="does not hold"):
        checkpoint.opened(re.sub(b"\n7\n", b"\nx\n", SIGNED), LOG.verifier, ORIGIN)
