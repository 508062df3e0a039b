"""Implementations that are not ours accept what is proved and signed here, and refuse it with one bit flipped."""

import json
import os
import shutil
import subprocess
import venv
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import checkpoint, merkle, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.merkle import HASH, Frontier
from mythos_gate.audit.note import Kind, SignerKey, VerifierKey
from mythos_gate.audit.tlogproof import Proof

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent / "independent"
GOCODE = Path("/usr/share/gocode")
Judge = Callable[[list[dict[str, Any]]], list[dict[str, bool]]]

SIZES = (1, 2, 3, 7, 8, 9, 33, 255, 256, 257, 700)
BODIES = [json.dumps({"n": number}).encode() for number in range(max(SIZES))]
LEAVES = [leaf_hash(body) for body in BODIES]
LOG = SignerKey("example.com/log", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
WITNESSES = {f"w{number}.example.com": Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (2, 3)}


@pytest.fixture(scope="module")
def x_mod(tmp_path_factory) -> Judge:
    """golang.org/x/mod, from Debian's package, which is installed if it is missing."""
    source = GOCODE / "src" / "golang.org" / "x" / "mod" / "sumdb" / "tlog"
    missing = [] if source.is_dir() else ["golang-golang-x-mod-dev"]
    missing += [] if shutil.which("go") else ["golang-go"]
    if missing:
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *missing]):
            subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", *command], check=True, stdout=subprocess.DEVNULL
            )
    folder = tmp_path_factory.mktemp("x_mod")
    environment = {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0"}
    program = folder / "judge"
    command = ["go", "build", "-o", str(program), str(HERE / "main.go")]
    subprocess.run(command, check=True, cwd=folder, env=os.environ | environment)
    return judge([str(program)])


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Judge:
    """sigstore, proofbundle and metamorphic-log, pinned, in an environment of their own."""
    folder = tmp_path_factory.mktemp("packages")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    subprocess.run([python, *install, "-r", HERE / "requirements.txt"], check=True)
    return judge([str(python), "-I", str(HERE / "packages.py")])


def judge(command: list[str]) -> Judge:
    def ask(questions: list[dict[str, Any]]) -> list[dict[str, bool]]:
        asked = subprocess.run(command, input=json.dumps(questions), stdout=subprocess.PIPE, check=True, text=True)
        answers: list[dict[str, bool]] = json.loads(asked.stdout)
        return answers

    return ask


def base64(value):
    return b64encode(value).decode()


def levels(size):
    return {level: b"".join(hashes) for level, hashes in Frontier().append(LEAVES[:size]).items()}


def tiles(size):
    """The tiles by level, index and width, and by their names here."""
    have = levels(size)
    return {
        tile: have[tile.level][tile.index * 256 * HASH :][: width * HASH] for tile, width in merkle.tile_widths(size)
    }


def named(have):
    return {f"{tile.level}/{tile.index}/{len(data) // HASH}": base64(data) for tile, data in have.items()}


def root(size):
    frontier = Frontier()
    frontier.append(LEAVES[:size])
    return frontier.root()


def flipped(value, bit=3):
    return bytes([*value[:-1], value[-1] ^ 1 << bit])


def questions():
    """Each with the answer that it is to get."""
    for size in SIZES:
        have = tiles(size)
        for number in sorted({0, size // 3, size // 2, size - 1}):
            yield from inclusion(number, size, have)
            yield from consistency(number + 1, size, have)
        yield from checkpoints(size)
        yield from proofs(size // 2, size, have)


def inclusion(index, size, have):
    made, right = merkle.proof(merkle.inclusion_nodes(index, size), have), root(size)

    def asked(body=BODIES[index], proof=made, head=right, at=index):
        return {
            "kind": "inclusion",
            "body": base64(body),
            "index": at,
            "size": size,
            "proof": [base64(value) for value in proof],
            "root": base64(head),
        }

    yield asked(), True
    yield asked() | {"kind": "inclusion tiles", "tiles": named(have)}, True
    if size > 1:
        yield asked() | {"kind": "inclusion tiles", "tiles": named(spoilt(have))}, False
        yield asked(at=(index + 1) % size), False
    yield asked(body=flipped(BODIES[index])), False
    yield asked(head=flipped(right)), False
    for proof in spoilt_proofs(made):
        yield asked(proof=proof), False


def consistency(old, size, have):
    made, was, right = merkle.proof(merkle.consistency_nodes(old, size), have), root(old), root(size)

    def asked(proof=made, old_root=was, head=right):
        return {
            "kind": "consistency",
            "old": old,
            "size": size,
            "proof": [base64(value) for value in proof],
            "old_root": base64(old_root),
            "root": base64(head),
        }

    yield asked(), True
    yield asked() | {"kind": "consistency tiles", "tiles": named(have)}, True
    if old < size:
        yield asked() | {"kind": "consistency tiles", "tiles": named(spoilt(have))}, False
    yield asked(old_root=flipped(was)), False
    yield asked(head=flipped(right)), False
    for proof in spoilt_proofs(made):
        yield asked(proof=proof), False


def spoilt(have):
    return {tile: flipped(data) for tile, data in have.items()}


def spoilt_proofs(made):
    for at, value in enumerate(made):
        yield [*made[:at], flipped(value, at % 8), *made[at + 1 :]]
    if made:
        yield made[:-1]
    yield [*made, LEAVES[0]]


def checkpoints(size):
    signed = cosigned(size)
    text = signed.decode()

    def asked(written, key=LOG.verifier, told=size):
        return {
            "kind": "checkpoint",
            "note": written,
            "key": key.text,
            "size": told,
            "root": base64(root(size)),
        }

    yield asked(text), True
    yield asked(text, told=size + 1), False
    yield asked(text, VerifierKey(LOG.name, WITNESSES["w2.example.com"].public_key().public_bytes_raw())), False
    for at in range(len(text.partition("\n\n")[0])):
        yield asked(text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]), False
    head, line, *others = signed.decode().split("\n— ")
    name, armoured = line.split(" ")
    signature = note.from_base64(armoured)
    for at in range(0, len(signature) * 8, 29):
        other = bytearray(signature)
        other[at // 8] ^= 1 << at % 8
        yield asked("\n— ".join([head, f"{name} {base64(other)}", *others])), False


def cosigned(size):
    signed = checkpoint.signed(Checkpoint(LOG.name, size, root(size)), [LOG])
    lines = [checkpoint.cosign(signed, name, key, 1_700_000_000) for name, key in WITNESSES.items()]
    return checkpoint.with_signatures(signed, lines)


def proofs(index, size, have):
    hashes = tuple(merkle.proof(merkle.inclusion_nodes(index, size), have))
    witnesses = [
        VerifierKey(name, key.public_key().public_bytes_raw(), Kind.COSIGNATURE).text for name, key in WITNESSES.items()
    ]
    written = Proof(index, hashes, cosigned(size), b"more").format().decode()

    def asked(text=written, body=BODIES[index]):
        return {
            "kind": "proof",
            "note": text,
            "body": base64(body),
            "key": LOG.verifier.text,
            "witnesses": witnesses,
        }

    yield asked(), True
    yield asked(body=flipped(BODIES[index])), False
    # Nothing vouches for the extra data, and others read base64 of a signature that is not in its one form.
    start, end = written.index("index"), written.index("\n\n—")
    for at in range(start, end, 3):
        yield asked(written[:at] + chr(ord(written[at]) ^ 1) + written[at + 1 :]), False


def held_to(judge: Judge, judging: dict[str, set[str]]) -> None:
    asked = list(questions())
    answers = judge([question for question, _ in asked])
    assert len(answers) == len(asked)
    counts: Counter[tuple[str, bool]] = Counter()
    for (question, expected), answer in zip(asked, answers, strict=True):
        assert answer == dict.fromkeys(judging.get(question["kind"], ()), expected), question
        counts[question["kind"], expected] += 1
    for kind in judging:
        assert counts[kind, True] >= len(SIZES)
        assert counts[kind, False] >= len(SIZES)


def test_the_code_behind_the_go_checksum_database_agrees(x_mod):
    kinds = ("inclusion", "consistency", "checkpoint", "inclusion tiles", "consistency tiles")
    held_to(x_mod, {kind: {"golang.org/x/mod"} for kind in kinds})


def test_three_packages_from_pypi_agree(packages):
    held_to(
        packages,
        {
            "inclusion": {"sigstore", "proofbundle", "metamorphic-log"},
            "consistency": {"proofbundle", "metamorphic-log"},
            "checkpoint": {"sigstore", "proofbundle", "metamorphic-log"},
            "proof": {"proofbundle"},
        },
    )
