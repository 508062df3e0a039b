"""Published test vectors of transparency logs. Proofs of subtrees, which some of them have, are not made here."""

import gzip
import json
from base64 import b64decode
from typing import Any

import pytest

from mythos_gate.audit import checkpoint, merkle, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.merkle import EMPTY_ROOT, HASH, Frontier, Tile, Unproven
from mythos_gate.audit.note import BadNote, SignerKey, VerifierKey
from mythos_gate.audit.tlogproof import BadProof, Proof
from tests.conformance.shared import SHARED

PLACE = SHARED / "logvectors"
pytestmark = [
    pytest.mark.log_vectors,
    pytest.mark.skipif(not PLACE.is_dir(), reason=f"there is no {PLACE}: set MYTHOS_GATE_SHARED"),
]
PROBES = PLACE / "transparency-dev-merkle" / "testdata"
TESSERA = PLACE / "tessera" / "testdata" / "log"
# The one probe with another answer: its roots are equal and no hashes (12 bytes), which is refused here.
NO_HASHES = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty"}


def read(name: str) -> Any:
    return json.loads((PLACE / name).read_text())


def read_lazily(name: str, member: str) -> list[Any]:
    """The cases of a file; without the data, none."""
    return read(name)[member] if PLACE.is_dir() else []


def decoded(values):
    return [b64decode(value) for value in values or ()]


def probes(kind):
    return sorted(path.relative_to(PROBES).with_suffix("").as_posix() for path in (PROBES / kind).rglob("*.json"))


INCLUSION, CONSISTENCY = probes("inclusion"), probes("consistency")


def test_the_probes_are_all_here():
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)
    assert sum(not read_probe(name)["wantErr"] for name in INCLUSION + CONSISTENCY) == 12


def read_probe(name):
    return json.loads((PROBES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", INCLUSION)
def test_inclusion_probe(name):
    given = read_probe(name)
    leaf, root = b64decode(given["leafHash"]), b64decode(given["root"])
    accepted = accepts(lambda: merkle.verify_inclusion(leaf, given["leafIdx"], given["treeSize"], proof(given), root))
    assert accepted is not given["wantErr"]


@pytest.mark.parametrize("name", CONSISTENCY)
def test_consistency_probe(name):
    given = read_probe(name)
    roots = b64decode(given["root1"]), b64decode(given["root2"])
    accepted = accepts(
        lambda: merkle.verify_consistency(given["size1"], roots[0], given["size2"], roots[1], proof(given))
    )
    assert accepted is (not given["wantErr"] and name not in NO_HASHES)
    if name in NO_HASHES:
        assert {len(root) for root in roots} != {HASH}


def proof(given):
    return decoded(given["proof"])


def accepts(verify):
    try:
        verify()
    except Unproven:
        return False
    return True


def test_the_reference_tree_of_certificate_transparency():
    given = read("rfc6962/ct-reference.json")
    leaves = [leaf_hash(bytes.fromhex(each)) for each in given["leaves_hex"]]
    hasher = {name: bytes.fromhex(value) for name, value in given["hasher"].items()}
    assert hasher == {
        "empty_root": EMPTY_ROOT,
        "leaf_of_empty": leaf_hash(b""),
        "leaf_of_ascii_L123456": leaf_hash(b"L123456"),
        "node_of_ascii_N123_N456": merkle.node_hash(b"N123", b"N456"),
    }
    roots = {0: EMPTY_ROOT} | {size: root_of(leaves[:size]) for size in range(1, 9)}
    assert given["roots_hex_by_size_1_to_8"] == [roots[size].hex() for size in range(1, 9)]
    held_to(leaves, roots, *(triples(given[kind], names) for kind, names in KINDS.items()))
    assert (len(given["inclusion"]), len(given["consistency"])) == (5, 4)


KINDS = {"inclusion": ("index", "size", "proof"), "consistency": ("old", "new", "proof")}


def triples(cases, names):
    return [tuple(case[name] for name in names) for case in cases]


def test_a_tree_of_a_thousand_leaves():
    given = json.loads(gzip.decompress((PLACE / "tree1000" / "tree1000.json.gz").read_bytes()))
    leaves = [leaf_hash(record.encode()) for record in given["recs"]]
    frontier, roots = Frontier(), {0: EMPTY_ROOT}
    for leaf in leaves:
        frontier.append([leaf])
        roots[frontier.size] = frontier.root()
    assert given["roots"] == {str(size): root.hex() for size, root in roots.items()}
    assert (len(given["incl"]), len(given["cons"])) == (1072, 63)
    held_to(leaves, roots, given["incl"], given["cons"])


def held_to(leaves, roots, inclusion, consistency):
    """Proofs of ours, from tiles, are these, and they hold; they do not under a root with another bit."""
    tiles = {size: tiles_of(leaves[:size]) for size in {size for _, size, _ in (*inclusion, *consistency)}}
    for index, size, expected in inclusion:
        made = merkle.proof(merkle.inclusion_nodes(index, size), tiles[size])
        assert expected == [value.hex() for value in made]
        merkle.verify_inclusion(leaves[index], index, size, made, roots[size])
        with pytest.raises(Unproven):
            merkle.verify_inclusion(leaves[index], index, size, made, flipped(roots[size]))
    for old, new, expected in consistency:
        made = merkle.proof(merkle.consistency_nodes(old, new), tiles[new])
        assert expected == [value.hex() for value in made]
        merkle.verify_consistency(old, roots[old], new, roots[new], made)
        for wrong in ((flipped(roots[old]), roots[new]), (roots[old], flipped(roots[new]))):
            with pytest.raises(Unproven):
                merkle.verify_consistency(old, wrong[0], new, wrong[1], made)


def flipped(value):
    return bytes([value[0] ^ 1]) + value[1:]


def root_of(leaves):
    frontier = Frontier()
    frontier.append(leaves)
    return frontier.root()


def tiles_of(leaves):
    levels = {level: b"".join(hashes) for level, hashes in Frontier().append(leaves).items()}
    return {
        tile: levels[tile.level][tile.index * 256 * HASH :][: width * HASH]
        for tile, width in merkle.tile_widths(len(leaves))
    }


@pytest.mark.parametrize("case", read_lazily("note/signed-note.json", "sign"), ids=lambda case: case["vkey"])
def test_a_note_signed_here_has_the_same_bytes(case):
    signer = SignerKey.parse(case["skey"])
    assert case["skey"] == signer.secret()
    assert case["vkey"] == signer.verifier.text
    assert case["note"].encode() == note.sign(case["text"], [signer])


@pytest.mark.parametrize("case", read_lazily("note/signed-note.json", "verify"), ids=lambda case: case["name"])
def test_a_note_signed_elsewhere(case):
    keys = [VerifierKey.parse(text) for text in case["vkeys"]]
    assert case["vkeys"] == [key.text for key in keys]
    if case["ok"]:
        assert len(note.open(case["note"].encode(), keys).verified) == case["n_verified"]
    else:
        with pytest.raises(BadNote):
            note.open(case["note"].encode(), keys)


@pytest.mark.parametrize(
    "text",
    read_lazily("note/signed-note.json", "bad_vkeys") + read_lazily("cosignature/cosignature-v1.json", "vkeys_bad"),
)
def test_a_bad_key(text):
    with pytest.raises(BadNote):
        VerifierKey.parse(text)


@pytest.mark.parametrize("text", read_lazily("cosignature/cosignature-v1.json", "vkeys_ok"))
def test_a_witness_s_key(text):
    assert text == VerifierKey.parse(text).text


@pytest.mark.parametrize("case", read_lazily("cosignature/cosignature-v1.json", "timestamp"))
def test_the_time_of_a_cosignature(case):
    signature = note.from_base64(case["sig_b64"])[4:]
    if case.get("wantErr"):
        with pytest.raises(BadNote):
            note.timestamped(signature)
    else:
        assert note.timestamped(signature)[0] == case["unix"]


def test_the_keys_of_a_log_and_a_witness():
    keys = read("cosignature/cosignature-v1.json")["test_keys"]
    assert keys["log_vkey"] == SignerKey.parse(keys["log_skey"]).verifier.text
    assert keys["witness_vkey_type1"] == SignerKey.parse(keys["witness_skey"]).verifier.text


@pytest.mark.parametrize(
    "case", read_lazily("checkpoint/checkpoint-parse.json", "unmarshal"), ids=lambda case: case["desc"]
)
def test_the_text_of_a_checkpoint(case):
    """Roots in them are of any length, here of 32 bytes: so a good case is also read with such a root in its place."""
    with pytest.raises(BadNote, match=None if case.get("wantErr") else "32 bytes"):
        Checkpoint.parse(case["m"])
    if not case.get("wantErr"):
        origin, size, _, rest = case["m"].split("\n", 3)
        found = Checkpoint.parse("\n".join((origin, size, note.base64(bytes(HASH)), rest)))
        extensions = case.get("rest", "").splitlines()
        assert found == Checkpoint(case["origin"], case["size"], bytes(HASH), tuple(extensions))


@pytest.mark.parametrize(
    "case", read_lazily("checkpoint/checkpoint-parse.json", "golden"), ids=lambda case: case["origin"]
)
def test_the_text_of_a_checkpoint_made_here(case):
    head = Checkpoint(case["origin"], case["size"], leaf_hash(case["leaf_ascii"].encode()))
    assert case["text"] == head.format()
    assert head == Checkpoint.parse(case["text"])


@pytest.mark.parametrize("size", range(16))
def test_a_log_of_tessera(size):
    key = VerifierKey.parse(read("checkpoint/checkpoint-parse.json")["tessera_log_vkey"])
    signed = (TESSERA / f"checkpoint.{size}").read_bytes()
    head = checkpoint.opened(signed, key, key.name)
    assert head.size == size
    if size:
        tile = (TESSERA / "tile" / "0" / "000.p" / str(size)).read_bytes()
        leaves = [leaf_hash(entry) for entry in entries((TESSERA / f"tile/entries/000.p/{size}").read_bytes())]
        assert tile == b"".join(leaves)
        assert head.root == root_of(leaves)
        for index in range(size):
            made = merkle.proof(merkle.inclusion_nodes(index, size), {Tile(0, 0): tile})
            merkle.verify_inclusion(leaves[index], index, size, made, head.root)
        made = merkle.proof(merkle.consistency_nodes(size - 1, size), {Tile(0, 0): tile})
        before = checkpoint.opened((TESSERA / f"checkpoint.{size - 1}").read_bytes(), key, key.name)
        merkle.verify_consistency(before.size, before.root, size, head.root, made)
    else:
        assert head.root == EMPTY_ROOT


def entries(bundle):
    """C2SP tlog-tiles: each with its length before it."""
    while bundle:
        length = int.from_bytes(bundle[:2])
        yield bundle[2 : 2 + length]
        bundle = bundle[2 + length :]


def test_the_checkpoints_that_a_witness_is_tested_with():
    given = read("witness/add-checkpoint.json")["monkeys"]
    key = VerifierKey.parse(given["vkey"])
    old, new = (checkpoint.opened(given[which].encode(), key, "monkeys") for which in ("old", "new"))
    assert (old.size, new.size) == (5, 8)
    hashes = [bytes.fromhex(value) for value in given["consistency_hex"]]
    merkle.verify_consistency(old.size, old.root, new.size, new.root, hashes)
    with pytest.raises(Unproven):
        merkle.verify_consistency(old.size, old.root, new.size, new.root, hashes[::-1])


@pytest.mark.parametrize("case", read_lazily("proof/tlog-proof.json", "marshal"), ids=lambda case: str(case["index"]))
def test_the_file_of_a_proof(case):
    extra = b64decode(case["extra"]) if case.get("extra") else None
    made = Proof(case["index"], tuple(decoded(case["hashes"])), case["checkpoint"].encode(), extra)
    assert case["text"].encode() == made.format()
    assert made == Proof.parse(case["text"].encode())


@pytest.mark.parametrize("text", read_lazily("proof/tlog-proof.json", "errors"), ids=repr)
def test_the_bad_file_of_a_proof(text):
    with pytest.raises(BadProof):
        Proof.parse(text.encode())
