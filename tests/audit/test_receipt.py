"""Receipts, and that they are nothing else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit import checkpoint, note, receipt
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey
from mythos_gate.audit.receipt import Receipt
from tests.audit.test_checkpoint import CHECKPOINTS

ORIGIN = "example.com/log"
LOG = SignerKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"1" * 32))
KEY = LOG.verifier
ENTRY = "01936d2a-7b00-7000-8000-000000000001"
RECEIPT = Receipt(ORIGIN, ENTRY, b"l" * 32, datetime(2026, 11, 23, 12, 0, 0, 5, UTC))
TEXT = (
    f"{ORIGIN}/receipt\n{ENTRY}\nbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw=\n2026-11-23T12:00:00.000005Z\n"
)  # fmt: skip

ORIGINS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="+"), min_size=1)
RECEIPTS = st.builds(
    Receipt,
    ORIGINS,
    st.uuids().map(str),
    st.binary(min_size=32, max_size=32),
    st.datetimes(timezones=st.just(UTC)),
)


def test_the_text_is_as_agreed_and_signed_under_the_name_for_receipts():
    assert RECEIPT.format() == TEXT
    signed = receipt.signed(RECEIPT, LOG)
    named = SignerKey(f"{ORIGIN}/receipt", LOG.private)
    assert f"{TEXT}\n{named.line(TEXT)}\n".encode() == signed
    assert receipt.opened(signed, KEY, ORIGIN) == RECEIPT


@given(RECEIPTS)
def test_what_was_signed_can_be_opened(given):
    assert given == Receipt.parse(given.format())
    assert given == receipt.opened(receipt.signed(given, LOG), [KEY], given.origin)


def test_a_time_is_told_in_utc():
    east = datetime(2026, 11, 23, 14, 0, 0, 5, timezone(timedelta(hours=2)))
    assert Receipt(ORIGIN, ENTRY, b"l" * 32, east).format() == TEXT


@given(CHECKPOINTS, RECEIPTS)
def test_no_checkpoint_reads_as_a_receipt_nor_the_reverse(head, given):
    with pytest.raises(BadNote):
        Receipt.parse(head.format())
    with pytest.raises(BadNote):
        Checkpoint.parse(given.format())


def test_a_checkpoint_that_poses_as_a_receipt_is_refused():
    """The log of the origin `x/receipt` has the key's name in common with the receipts of the log `x`."""
    posing = SignerKey(f"{ORIGIN}/receipt", LOG.private)
    head = checkpoint.signed(Checkpoint(posing.name, 7, b"r" * 32), [posing])
    with pytest.raises(BadNote):
        receipt.opened(head, KEY, ORIGIN)
    with pytest.raises(BadNote):
        checkpoint.opened(receipt.signed(RECEIPT, LOG), posing.verifier, posing.name)
    with pytest.raises(BadNote, match="known key"):
        checkpoint.opened(receipt.signed(RECEIPT, LOG), KEY, ORIGIN)


def test_a_receipt_is_of_its_log_and_by_its_key():
    signed = receipt.signed(RECEIPT, LOG)
    # The text names another log than the key does.
    other = note.sign(TEXT.replace("example", "other"), [SignerKey(f"{ORIGIN}/receipt", LOG.private)])
    with pytest.raises(BadNote, match="another log"):
        receipt.opened(other, KEY, ORIGIN)
    for keys, origin in (
        (KEY, "other.com/log"),
        (SignerKey(ORIGIN, Ed25519PrivateKey.generate()).verifier, ORIGIN),
        (VerifierKey(ORIGIN, KEY.public, Kind.COSIGNATURE), ORIGIN),
        ([], ORIGIN),
    ):
        with pytest.raises(BadNote):
            receipt.opened(signed, keys, origin)
    with pytest.raises(BadNote):
        receipt.opened(note.sign(TEXT, [LOG]), KEY, ORIGIN)


def test_a_flipped_bit_is_refused():
    signed = receipt.signed(RECEIPT, LOG)
    for at in range(0, len(signed) * 8, 7):
        flipped = bytearray(signed)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(BadNote):
            receipt.opened(bytes(flipped), KEY, ORIGIN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        f"{TEXT}\n",
        f"{TEXT}more\n",
        TEXT.replace("/receipt", ""),
        TEXT.replace(f"{ORIGIN}/receipt", "/receipt"),
        TEXT.replace(ENTRY, ENTRY.upper()).replace("01936D", "01936d"),
        TEXT.replace(ENTRY, ENTRY.replace("-", "")),
        TEXT.replace(ENTRY, f"{{{ENTRY}}}"),
        TEXT.replace(ENTRY, "7"),
        TEXT.replace("Gw=", "Gx="),
        TEXT.replace("bGxs", "", 1),
        TEXT.replace(".000005Z", "Z"),
        TEXT.replace("5Z", "5+00:00"),
        TEXT.replace("5Z", "5z"),
        TEXT.replace("5Z", "5"),
        TEXT.replace("T12", " 12"),
        TEXT.replace("2026-11-23", "2026-W48-1"),
        TEXT.replace("T12", "T25"),
    ],
    ids=repr,
)
def test_what_is_written_otherwise_is_refused(text):
    with pytest.raises(BadNote):
        Receipt.parse(text)


@pytest.mark.parametrize(
    ("origin", "entry", "leaf", "at"),
    [
        ("", ENTRY, b"l" * 32, RECEIPT.at),
        ("a\nb", ENTRY, b"l" * 32, RECEIPT.at),
        (ORIGIN, "7", b"l" * 32, RECEIPT.at),
        (ORIGIN, ENTRY, b"l" * 31, RECEIPT.at),
        (ORIGIN, ENTRY, b"l" * 32, RECEIPT.at.replace(tzinfo=None)),
    ],
)
def test_what_a_receipt_cannot_say(origin, entry, leaf, at):
    with pytest.raises(BadNote):
        Receipt(origin, entry, leaf, at)


def test_an_origin_that_no_key_can_have_gets_no_receipt():
    with pytest.raises(BadNote):
        receipt.signed(Receipt("go.sum database tree", ENTRY, b"l" * 32, RECEIPT.at), LOG)
