"""C2SP signed-note: what it says is refused or ignored, and that what is written can be read."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit import note
from mythos_gate.audit.note import BadNote, Kind, Note, SignerKey, VerifierKey

LOG = SignerKey("example.com/log", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
OTHER = SignerKey("other", Ed25519PrivateKey.from_private_bytes(b"2" * 32))
KEY = LOG.verifier
TEXT = "a\n\nb\n"
LINE = LOG.line(TEXT)
SIGNATURE = LINE.rpartition(" ")[2]

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="+"), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32) | st.just("\n")).map(
    lambda text: f"{text}\n"
)
COLLISION = (65_227, 67_083)
KEYS = st.binary(min_size=32, max_size=32)


def raw(*lines, text=TEXT):
    return "".join([text, "\n", *(f"{line}\n" for line in lines)]).encode()


def test_the_note_is_as_specified():
    assert raw(LINE) == note.sign(TEXT, [LOG])
    assert f"— example.com/log {SIGNATURE}" == LINE
    assert len(SIGNATURE) == 92


def test_who_signed_is_known_and_others_are_only_named():
    signed = note.sign(TEXT, [LOG, OTHER])
    assert Note(TEXT, [(KEY, None)], ["other"]) == note.open(signed, [KEY])
    assert Note(TEXT, [(KEY, None), (OTHER.verifier, None)], []) == note.open(signed, [OTHER.verifier, KEY])
    with pytest.raises(BadNote, match="not signed by a known key"):
        note.open(signed, [])
    assert Note(TEXT, [], ["example.com/log", "other"]) == note.read(signed, [])


@given(TEXTS, st.lists(st.tuples(NAMES, KEYS), min_size=1, max_size=4, unique_by=lambda each: each[0]))
def test_what_was_signed_can_be_opened(text, names):
    signers = [SignerKey(name, Ed25519PrivateKey.from_private_bytes(seed)) for name, seed in names]
    verified: list[tuple[VerifierKey, int | None]] = [(signer.verifier, None) for signer in signers]
    assert Note(text, verified, []) == note.open(note.sign(text, signers), [key for key, _ in verified])


@given(NAMES, KEYS, st.sampled_from(Kind))
def test_keys_can_be_read_again(name, key, kind):
    verifier = VerifierKey(name, key, kind)
    assert verifier == VerifierKey.parse(verifier.text)
    signer = SignerKey(name, Ed25519PrivateKey.from_private_bytes(key))
    assert signer.secret() == SignerKey.parse(signer.secret()).secret()
    assert signer.verifier == SignerKey.parse(signer.secret()).verifier
    assert signer.secret() not in repr(signer)


def test_a_flipped_bit_is_refused():
    signed = note.sign(TEXT, [LOG])
    for at in range(len(signed) * 8):
        flipped = bytearray(signed)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(BadNote):
            note.open(bytes(flipped), [KEY])


@pytest.mark.parametrize(
    ("why", "given"),
    {
        "no empty line": f"a\n{LINE}\n".encode(),
        "no signature": f"{TEXT}\n".encode(),
        "no text": f"{LINE}\n".encode(),
        "no last line feed": raw(LINE)[:-1],
        "an empty line after it": raw(LINE, ""),
        "something else among the signatures": raw("a remark", LINE),
        "a hyphen for the dash": raw(LINE.replace("—", "-")),
        "a figure's dash": raw(LINE.replace("—", "–")),
        "no space after the dash": raw(LINE.replace("— ", "—")),
        "two spaces": raw(LINE.replace(" example", "  example")),
        "two spaces before the signature": raw(LINE.replace("log ", "log  ")),
        "a space at the end": raw(f"{LINE} "),
        "no name": raw(f"— {SIGNATURE}"),
        "a plus sign in a name": raw(LINE, f"— a+b {SIGNATURE}"),
        "a no-break space in a name": raw(LINE, f"— a\u00a0b {SIGNATURE}"),
        "an em space in a name": raw(LINE, f"— a\u2003b {SIGNATURE}"),
        "a next line in a name": raw(LINE, f"— a\u0085b {SIGNATURE}"),
        "a line separator between": raw(f"{LINE}\u2028{LINE}"),
        "no padding": raw(LINE, f"— a {SIGNATURE.rstrip('=')}"),
        "other last bits": raw(LINE, "— a AAAAAAB="),
        "too much padding": raw(LINE, "— a AAAAAAA=="),
        "padding within": raw(LINE, "— a AAA=AAAAAAA="),
        "base64 for URLs": raw(LINE, "— a _-_-AAAA"),
        "not ASCII": raw(LINE, "— a ÄÄÄÄÄÄÄÄ"),
        "an id alone": raw(LINE, f"— a {b64encode(b'1234').decode()}"),
        "a carriage return": raw(LINE).replace(b"\n", b"\r\n"),
        "a tab": raw(LINE, text="a\tb\n"),
        "a zero": raw(LINE, text="a\x00\n"),
        "not UTF-8": raw(LINE).replace(b"a", b"\xff", 1),
        "an overlong form": raw(LINE).replace(b"a", b"\xc1\xa1", 1),
        "a surrogate": raw(LINE).replace(b"a", b"\xed\xa0\x80", 1),
        "nothing": b"",
    }.items(),
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_malformed_is_refused_also_in_what_nobody_asked_about(why, given):
    with pytest.raises(BadNote):
        note.read(given, [])


@pytest.mark.parametrize(
    "text",
    ["\n", "\n\n", "a\n\n", f"a\n\n{LINE}\n", "a\u2028b\n", "a\u0085b\n", "a\x7fb\n", "— \n"],
    ids=["empty", "lines", "ends with an empty line", "a note", "line separator", "next line", "delete", "a dash"],
)
def test_only_line_feeds_divide_and_the_last_empty_line_ends_the_text(text):
    assert text == note.open(note.sign(text, [LOG]), [KEY]).text


@pytest.mark.parametrize("text", ["", "a", "a\r\n", "a\tb\n", "a\x00\n", "\ud800\n"], ids=repr)
def test_what_cannot_be_a_note_is_not_signed(text):
    with pytest.raises(BadNote):
        note.sign(text, [LOG])
    with pytest.raises(BadNote):
        note.sign(TEXT, [])


@pytest.mark.parametrize("line", ["", "x", f"{LINE}\n\n{LINE}", "— a b"])
def test_what_is_no_signature_is_not_added(line):
    with pytest.raises(BadNote):
        note.joined(TEXT, [LINE, line])


def test_signatures_of_unknown_keys_are_ignored():
    # Of the same name, or with the same id; and of a type that is not known, as long as one likes.
    namesake = SignerKey(KEY.name, OTHER.private)
    lines = [namesake.line("else\n"), f"— other {SIGNATURE}", f"— quantum {b64encode(bytes(5000)).decode()}"]
    assert note.open(raw(*lines, LINE), [KEY]).verified == [(KEY, None)]
    with pytest.raises(BadNote, match="not signed by a known key"):
        note.open(raw(*lines), [KEY])


def test_a_wrong_signature_of_a_known_key_spoils_the_note():
    wrong = LOG.line("else\n")
    for lines in ([wrong], [OTHER.line(TEXT), wrong], [LINE, wrong], [wrong, LINE]):
        with pytest.raises(BadNote, match="does not hold"):
            note.open(raw(*lines), [KEY, OTHER.verifier])
    # With an empty line between them, the first signature is of the text.
    with pytest.raises(BadNote, match="does not hold"):
        note.open(raw(LINE, "", LINE), [KEY])
    short = b64encode(KEY.key_id + bytes(63)).decode()
    with pytest.raises(BadNote, match="does not hold"):
        note.open(raw(f"— {KEY.name} {short}"), [KEY])


def test_a_key_that_signed_twice_signed_once():
    assert note.open(raw(LINE, LINE), [KEY, KEY]).verified == [(KEY, None)]
    assert note.read(raw(LINE, LINE), []).unverified == [KEY.name]


def test_sixteen_signatures_are_accepted_and_not_without_end():
    lines = [SignerKey(f"k{number}", OTHER.private).line(TEXT) for number in range(note.MOST_SIGNATURES)]
    assert note.MOST_SIGNATURES >= 16
    assert len(note.open(raw(*lines[:-1], LINE), [KEY]).unverified) == note.MOST_SIGNATURES - 1
    with pytest.raises(BadNote, match="at most"):
        note.open(raw(*lines, LINE), [KEY])
    with pytest.raises(BadNote, match="at most"):
        note.open(note.sign("a" * note.LARGEST + "\n", [LOG]), [KEY])


def test_two_keys_of_one_name_and_id_are_ambiguous():
    # Found by trying: an id is short, and no proof of anything.
    pair = [VerifierKey("a", number.to_bytes(32)) for number in COLLISION]
    assert pair[0].key_id == pair[1].key_id
    with pytest.raises(BadNote, match="two keys"):
        note.open(raw(LINE), [KEY, *pair])


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a+b", "a\u00a0b", "a\u3000", "\u2028", "a\nb", "a\tb", "a\x00", "\x1f", "a\u0085", "\ud800"],
    ids=repr,
)
def test_names_that_no_key_has(name):
    for make in (lambda: VerifierKey(name, KEY.public), lambda: SignerKey(name, LOG.private)):
        with pytest.raises(BadNote):
            make()


WELL = KEY.text
NAME, ID, KEY64 = WELL.split("+", 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        f"{NAME}+{ID}",
        f"{NAME}+{ID}+",
        f"+{ID}+{KEY64}",
        f"{NAME}+{ID.upper()}+{KEY64}",
        f"{NAME}+0{ID}+{KEY64}",
        f"{NAME}x+{ID}+{KEY64}",
        f"{NAME}+00000000+{KEY64}",
        f"{NAME}+{ID}+{KEY64}=",
        f"{NAME}+{ID}+{KEY64[:-1]}",
        f"{NAME}+{ID}+{KEY64}\n",
        f" {WELL}",
        f"{NAME}+{ID}+{b64encode(bytes([4]) + KEY.public).decode()}",
        f"{NAME}+{ID}+{b64encode(bytes([2]) + KEY.public).decode()}",
        f"{NAME}+{ID}+{b64encode(bytes([1]) + KEY.public[1:]).decode()}",
        LOG.secret(),
    ],
    ids=repr,
)
def test_what_is_no_verifier_s_key_is_refused(text):
    with pytest.raises(BadNote):
        VerifierKey.parse(text)


@pytest.mark.parametrize("text", ["", WELL, LOG.secret()[:-4], LOG.secret().replace(ID, "00000000")], ids=repr)
def test_what_is_no_signer_s_key_is_refused(text):
    with pytest.raises(BadNote):
        SignerKey.parse(text)


@given(st.integers(0, 2**63 - 1))
def test_numbers_have_one_form(value):
    assert value == note.number(str(value))


@pytest.mark.parametrize(
    "text", ["", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1_0", "0x1", "²", "١", "1١", str(2**63)]
)
def test_other_forms_of_numbers_are_refused(text):
    with pytest.raises(BadNote):
        note.number(text)


@given(st.binary())
def test_base64_has_one_form(value):
    assert value == note.from_base64(note.base64(value))
