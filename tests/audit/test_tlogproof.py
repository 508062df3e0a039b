"""C2SP tlog-proof: one form, and what makes it hold."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit import checkpoint, merkle, tlogproof
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.merkle import Unproven
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey
from mythos_gate.audit.tlogproof import BadProof, Proof

LOG = SignerKey("example.com/log", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
KEY = LOG.verifier
WITNESSES = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 16) for name in ("w1", "w2", "w3")}
WITNESS_KEYS = [
    VerifierKey(name, key.public_key().public_bytes_raw(), Kind.COSIGNATURE) for name, key in WITNESSES.items()
]
LEAVES = [leaf_hash(bytes([number])) for number in range(5)]
FRONTIER = merkle.Frontier()
FRONTIER.append(LEAVES)
SIGNED = checkpoint.signed(Checkpoint(LOG.name, 5, FRONTIER.root()), [LOG])
COSIGNED = checkpoint.with_signatures(
    SIGNED, [checkpoint.cosign(SIGNED, name, key, 1_700_000_000) for name, key in WITNESSES.items() if name != "w3"]
)
PATH = (LEAVES[3], merkle.node_hash(LEAVES[0], LEAVES[1]), LEAVES[4])
PROOF = Proof(2, PATH, COSIGNED)
HASHES = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

PROOFS = st.builds(
    Proof,
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    st.binary(min_size=1),
    st.none() | st.binary(min_size=1),
)


@given(PROOFS)
def test_what_was_written_can_be_read(proof):
    assert proof == Proof.parse(proof.format())


def test_the_file_is_as_specified():
    assert b"c2sp.org/tlog-proof@v1\nextra eA==\nindex 7\n" + HASHES.encode() + b"\nsigned\n" == (
        Proof(7, (bytes(32),), b"signed\n", b"x").format()
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\n\nx\n",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1 \nindex 0\n\nx\n",
        "\nc2sp.org/tlog-proof@v1\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nx\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 00\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex -0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex  0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0 \n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex\n\nx\n",
        "c2sp.org/tlog-proof@v1\nIndex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex ٣\n\nx\n",
        f"c2sp.org/tlog-proof@v1\nindex {2**63}\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra eA\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra eB==\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra eA==\n\nx\n",
        "c2sp.org/tlog-proof@v1\nextra eA==\nextra eA==\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra eA==\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 0\n\nx\n",
        "c2sp.org/tlog-proof@v1\nindex 0\neA==\n\nx\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n {HASHES}\nx\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASHES * 64}\nx\n",
    ],
    ids=lambda text: repr(text)[:60],
)
def test_what_is_written_otherwise_is_refused(text):
    with pytest.raises(BadProof):
        Proof.parse(text.encode())


def test_what_is_no_text_is_refused():
    with pytest.raises(BadProof):
        Proof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\xff\n\nx\n")


@pytest.mark.parametrize(
    ("index", "hashes", "signed", "extra"),
    [
        (-1, (), b"x", None),
        (2**63, (), b"x", None),
        (0, (b"x",), b"x", None),
        (0, (bytes(32),) * 64, b"x", None),
        (0, (), b"", None),
        (0, (), b"x", b""),
    ],
)
def test_what_a_proof_cannot_say(index, hashes, signed, extra):
    with pytest.raises(BadProof):
        Proof(index, hashes, signed, extra)


def test_a_proof_shows_that_the_leaf_is_in_the_log():
    head = Checkpoint(LOG.name, 5, FRONTIER.root())
    parsed = Proof.parse(PROOF.format())
    assert tlogproof.verify(parsed, LEAVES[2], KEY, LOG.name) == head
    assert tlogproof.verify(parsed, LEAVES[2], [KEY], LOG.name, iter(WITNESS_KEYS), 2) == head
    assert tlogproof.verify(replace(parsed, extra=b"anything"), LEAVES[2], KEY, LOG.name) == head


def test_what_does_not_hold_is_refused():
    for leaf, index in ((LEAVES[3], 2), (LEAVES[2], 3), (LEAVES[2], 5)):
        with pytest.raises(Unproven):
            tlogproof.verify(replace(PROOF, index=index), leaf, KEY, LOG.name)
    for hashes in (PATH[:2], PATH[::-1], (*PATH, LEAVES[0]), ()):
        with pytest.raises(Unproven):
            tlogproof.verify(replace(PROOF, hashes=hashes), LEAVES[2], KEY, LOG.name)
    with pytest.raises(BadNote, match="another log"):
        tlogproof.verify(PROOF, LEAVES[2], KEY, "example.com/other")
    with pytest.raises(BadNote, match="known key"):
        tlogproof.verify(PROOF, LEAVES[2], SignerKey(LOG.name, WITNESSES["w1"]).verifier, LOG.name)


def test_the_quorum_counts_witnesses_whose_cosignatures_hold():
    for witnesses, quorum in ((WITNESS_KEYS, 3), (WITNESS_KEYS[:1], 2), ([], 1), (WITNESS_KEYS[:1] * 2, 2)):
        with pytest.raises(BadNote, match="required"):
            tlogproof.verify(PROOF, LEAVES[2], KEY, LOG.name, witnesses, quorum)
    bad = checkpoint.cosign(checkpoint.signed(Checkpoint(LOG.name, 6, LEAVES[0]), [LOG]), "w3", WITNESSES["w3"], 1)
    spoilt = replace(PROOF, checkpoint=checkpoint.with_signatures(COSIGNED, [bad]))
    with pytest.raises(BadNote, match="does not hold"):
        tlogproof.verify(spoilt, LEAVES[2], KEY, LOG.name, WITNESS_KEYS, 2)


def test_a_log_is_not_a_witness_of_itself():
    own = VerifierKey("witness", KEY.public, Kind.COSIGNATURE)
    line = checkpoint.cosign(SIGNED, "witness", LOG.private, 1)
    proof = replace(PROOF, checkpoint=checkpoint.with_signatures(SIGNED, [line]))
    with pytest.raises(BadNote, match="itself"):
        tlogproof.verify(proof, LEAVES[2], KEY, LOG.name, [own], 1)


def test_a_flipped_bit_is_refused():
    written = PROOF.format()
    for at in range(0, len(written) * 8, 7):  # in every byte one
        flipped = bytearray(written)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError):
            tlogproof.verify(Proof.parse(bytes(flipped)), LEAVES[2], KEY, LOG.name, WITNESS_KEYS, 2)
