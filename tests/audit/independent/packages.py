"""Judges proofs and notes by packages from PyPI, in an environment of their own.

Questions come as JSON on standard input, answers go as JSON to standard output: for each question what each package
that can judge it says. Whatever a package raises besides its own refusal ends the program.
"""

import json
import sys
from base64 import b64decode
from hashlib import sha256
from types import SimpleNamespace

import metamorphic_log
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from proofbundle import checkpoint as bundle_checkpoint
from proofbundle import merkle as bundle_merkle
from proofbundle import tlogproof as bundle_proof
from proofbundle.errors import ProofBundleError
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common.v1 import PublicKey, PublicKeyDetails


def sigstore_inclusion(q):
    proof = SimpleNamespace(log_index=q.index, tree_size=q.size, hashes=q.proof, root_hash=q.root)
    inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=q.body)
    return passes(VerificationError, verify_merkle_inclusion, SimpleNamespace(_inner=inner))


def sigstore_checkpoint(q):
    name, key_id, armoured = q.key.split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(b64decode(armoured)[1:])
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keyring = Keyring([PublicKey.model_construct(raw_bytes=der, key_details=PublicKeyDetails.PKIX_ED25519)])
    try:
        signed = SignedCheckpoint.from_text(q.note)
        signed.signed_note.verify(keyring, bytes.fromhex(key_id))
    except VerificationError:
        return False
    found = signed.checkpoint
    return (name, q.size, q.root.hex()) == (found.origin, found.log_size, found.log_hash)


def bundle_inclusion(q):
    return bundle_merkle.verify_inclusion(q.body, q.index, q.size, q.proof, q.root)


def bundle_consistency(q):
    return bundle_merkle.verify_consistency(q.old, q.size, q.proof, q.old_root, q.root)


def bundle_checkpoints(q):
    try:
        found = bundle_checkpoint.verify_checkpoint(q.note, q.key)
    except ProofBundleError:
        return False
    return found["ok"] and (q.size, q.root) == (found["tree_size"], found["root"])


def bundle_proofs(q):
    found = bundle_proof.verify_tlog_proof(q.note, q.body, q.key, q.witnesses, threshold=len(q.witnesses))
    return found["ok"]


def metamorphic_inclusion(q):
    leaf = sha256(b"\x00" + q.body).digest()
    return passes(METAMORPHIC, metamorphic_log.verify_inclusion, q.index, q.size, leaf, q.proof, q.root)


def metamorphic_consistency(q):
    return passes(METAMORPHIC, metamorphic_log.verify_consistency, q.old, q.size, q.proof, q.old_root, q.root)


def metamorphic_checkpoint(q):
    try:
        found = metamorphic_log.checkpoint_verify(q.note, [q.key])
    except METAMORPHIC:
        return False
    return (q.size, q.root) == (found.size, bytes(found.root))


METAMORPHIC = metamorphic_log.VerifyError


def passes(refusal, verify, *arguments):
    try:
        verify(*arguments)
    except refusal:
        return False
    return True


JUDGES = {
    "inclusion": {
        "sigstore": sigstore_inclusion,
        "proofbundle": bundle_inclusion,
        "metamorphic-log": metamorphic_inclusion,
    },
    "consistency": {"proofbundle": bundle_consistency, "metamorphic-log": metamorphic_consistency},
    "checkpoint": {
        "sigstore": sigstore_checkpoint,
        "proofbundle": bundle_checkpoints,
        "metamorphic-log": metamorphic_checkpoint,
    },
    "proof": {"proofbundle": bundle_proofs},
}
BYTES = ("body", "root", "old_root")


def read(question):
    decoded = {name: b64decode(question[name]) for name in BYTES if name in question}
    proof = [b64decode(value) for value in question.get("proof", ())]
    return SimpleNamespace(**question | decoded | {"proof": proof})


def main():
    questions = [read(each) for each in json.load(sys.stdin)]
    json.dump([{name: judge(q) for name, judge in JUDGES.get(q.kind, {}).items()} for q in questions], sys.stdout)


main()
