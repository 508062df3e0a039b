"""The log over REST: lists that are narrowed and pinned, receipts, proofs, tiles."""

import base64
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from mythos_gate import app, sequencing
from mythos_gate.api.tlog import tile_path
from mythos_gate.audit import bundle, checkpoint, merkle, reading, receipt, timestamps, tlogproof
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.merkle import Frontier
from mythos_gate.audit.note import VerifierKey
from mythos_gate.errors import Misconfigured
from mythos_gate.registry import log_keys
from mythos_gate.terms import Role
from tests.service import Service, question
from tests.witness import Witness

pytestmark = [pytest.mark.anyio, pytest.mark.verified]


def log_key(service) -> VerifierKey:
    return next(iter(sequencing._signers(service.gate.settings).values())).verifier


def asker(body):
    return body["caller"]["id"] if body["type"] == "decision" else None


async def listed(service, query="", role=Role.AUDITOR):
    """All pages, and how many there were."""
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        answer = await service.get(f"/v1/log/entries?{query}{f'&cursor={cursor}' if cursor else ''}", role)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items, cursor, pages = items + page["items"], page["next"], pages + 1
    return items, pages


async def test_a_list_is_narrowed_by_what_is_asked(service):
    for role, subject, country in (
        (Role.GATEWAY, "acme/us", "US"),
        (Role.GATEWAY, "acme/ca", "DE"),
        (Role.COMPLIANCE, "acme/ca", "FR"),
        (Role.GATEWAY, "acme/nobody", "US"),
    ):
        await service.ask(question(subject, country=country), role)
    await service.ask(question("acme/bot", kind="agent"), Role.GATEWAY)
    everything = [each["body"] for each in await service.entries()]
    ids = dict(service.sql("SELECT external_id, id FROM people UNION SELECT external_id, id FROM agents"))
    callers = dict(service.sql("SELECT name, id FROM callers"))
    ((organization,),) = service.sql("SELECT id FROM organizations WHERE slug = 'acme'")
    decisions = [each for each in everything if each["type"] == "decision"]
    middle = decisions[2]["at"]
    about_us = [each for each in decisions if each["subject"].get("person") == ids["us"]]
    assert len(about_us) == 2  # of which one is the agent's
    wanted = {
        "type=decision": decisions,
        f"organization={organization}": [each for each in everything if each.get("organization") == organization],
        f"subject={ids['us']}": [each for each in everything if each in about_us or each.get("person") == ids["us"]],
        f"subject={ids['bot']}": [each for each in decisions if each["subject"].get("id") == ids["bot"]],
        f"subject={decisions[3]['subject']['digest']}": [decisions[3]],
        "decision=allow": [each for each in decisions if each["outcome"] == "allow"],
        "reason=PRESENCE_NOT_ALLOWED": [each for each in decisions if "PRESENCE_NOT_ALLOWED" in each["reasons"]],
        f"reason={decisions[2]['reasons'][0]}": [
            each for each in decisions if decisions[2]["reasons"][0] in each["reasons"]
        ],
        f"caller={callers['test compliance']}": [
            each
            for each in everything
            if asker(each) == callers["test compliance"] or each.get("actor") == callers["test compliance"]
        ],
        f"since={middle}": [each for each in everything if each["at"] >= middle],
        f"until={middle}": [each for each in everything if each["at"] < middle],
        f"type=decision&decision=allow&subject={ids['us']}&since={decisions[0]['at']}": about_us,
        "decision=hold": [],
    }
    for query, expected in wanted.items():
        found, _ = await listed(service, f"size={len(everything)}&{query}")
        assert [each["body"] for each in found] == expected, query
    assert len(wanted["decision=allow"]) not in {0, len(decisions)}


async def test_a_rare_entry_is_found_over_several_pages(service, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW", 3)
    await service.ask(question())
    await service.sequence()
    found, pages = await listed(service, "type=decision")
    assert [each["body"]["type"] for each in found] == ["decision"]
    assert pages > 4


async def test_that_the_log_was_read_is_in_the_log_with_what_was_asked_and_no_value(service):
    await service.sequence()
    await service.get("/v1/log/entries?type=imported&limit=2&subject=secret%40example.com")
    (read,) = [each["body"] for each in await service.entries() if each["body"]["type"] == "log_read"]
    ((auditor,),) = service.sql("SELECT id FROM callers WHERE name = 'test auditor'")
    assert (read["actor"], read["from"], read["rows"], read["filters"]) == (auditor, 0, 0, ["subject", "type"])
    assert "secret" not in json.dumps(read)


async def test_that_the_facts_of_a_decision_were_read_is_in_the_log_and_that_its_caller_read_it_is_not(service):
    said = (await service.ask(question())).json()["context"]["id"]
    assert "facts" not in (await service.get(f"/v1/decisions/{said}", Role.GATEWAY)).json()
    assert (await service.get(f"/v1/decisions/{said}", Role.AUDITOR)).json()["facts"]
    (read,) = [each["body"] for each in await service.entries() if each["body"]["type"] == "log_read"]
    ((auditor,),) = service.sql("SELECT id FROM callers WHERE name = 'test auditor'")
    assert (read["actor"], read["decision"], read["rows"]) == (auditor, said, 1)


async def test_a_cursor_of_a_size_that_was_never_signed_is_refused(service):
    await service.sequence()
    made = base64.urlsafe_b64encode(b"9007199254740991 0").decode()
    answer = await service.get(f"/v1/log/entries?cursor={made}")
    assert (answer.status_code, "signed entries so far" in answer.json()["detail"]) == (400, True)


async def test_who_writes_the_id_of_a_decision_again_does_not_hide_it(service):
    said = (await service.ask(question())).json()["context"]["id"]
    await service.sequence()
    for apart in ("-1 microsecond", "1 microsecond"):
        service.sql(
            "INSERT INTO log_entries (id, at, type, writer, n, leaf, body)"
            " SELECT id, at + %s::interval, type, 'pdp-x', 7, leaf, body FROM log_entries WHERE id = %s AND n < 7",
            apart, said,
        )  # fmt: skip
    before = (await service.get(f"/v1/decisions/{said}")).json()
    assert (before["id"], before["type"]) == (said, "decision")
    assert (await service.get(f"/v1/decisions/{said}/proof")).status_code == 200


async def test_what_is_proved_between_two_sizes_can_be_kept(service):
    await service.sequence()
    size = (await service.get("/v1/log/entries?limit=1")).json()["size"]
    kept = await service.client.get(f"/v1/log/consistency?old=1&new={size}")
    newest = await service.client.get("/v1/log/consistency?old=1")
    assert kept.json() == newest.json()
    assert [("immutable" in each.headers["cache-control"]) for each in (kept, newest)] == [True, False]


async def test_a_tree_that_is_not_there_yet_is_not_listed(service):
    await service.sequence()
    size = (await service.get("/v1/log/entries?limit=1")).json()["size"]
    assert (await service.get(f"/v1/log/entries?size={size + 1}")).status_code == 400
    assert len((await listed(service, "size=3&limit=2"))[0]) == 3
    assert (await listed(service, "size=0"))[0] == []


async def test_a_receipt_is_evidence_at_once_and_a_proof_after_the_next_checkpoint(service):
    said = (await service.ask(question(), Role.GATEWAY)).json()["context"]["id"]
    early = await service.get(f"/v1/decisions/{said}/proof", Role.GATEWAY)
    assert early.status_code == 404
    assert "receipt" in early.json()["detail"]
    given = await service.get(f"/v1/decisions/{said}/receipt", Role.GATEWAY)
    key = sequencing.receipt_signer(service.gate.settings)
    assert key is not None
    held = receipt.opened(given.content, key.verifier, service.gate.settings.origin)
    stored = next(each for each in await service.entries() if each["body"]["id"] == said)
    assert (held.entry, held.leaf.hex()) == (said, stored["leaf"])
    proof = tlogproof.Proof.parse((await service.get(f"/v1/decisions/{said}/proof", Role.GATEWAY)).content)
    leaf = leaf_hash(stored["stored"].encode())
    tlogproof.verify(proof, leaf, log_key(service), service.gate.settings.origin)
    with pytest.raises(merkle.Unproven):
        tlogproof.verify(proof, leaf_hash(b"{}"), log_key(service), service.gate.settings.origin)


@pytest.mark.parametrize("what", ["receipt", "proof"])
async def test_evidence_of_anothers_decision_is_not_given(service, what):
    said = (await service.ask(question(), Role.COMPLIANCE)).json()["context"]["id"]
    change = (await service.entries())[0]["body"]["id"]
    for identifier in (said, change, "01a2085e-491e-7b16-bb0e-341525e2bb95"):
        assert (await service.get(f"/v1/decisions/{identifier}/{what}", Role.GATEWAY)).status_code == 404
    assert (await service.get(f"/v1/decisions/{said}/{what}", Role.AUDITOR)).status_code == 200


async def test_every_entry_is_proven_in_its_place_and_each_size_continues_the_one_before(service):
    for _ in range(3):
        await service.ask(question())
        await service.sequence()
    entries = await service.entries()
    sizes = [size for (size,) in service.sql("SELECT size FROM log_checkpoints ORDER BY size")]
    assert len(sizes) >= 3
    for index, each in enumerate(entries):
        answer = await service.get(f"/v1/log/entries/{each['body']['id']}/proof")
        proof = tlogproof.Proof.parse(answer.content)
        assert proof.index == index
        tlogproof.verify(proof, bytes.fromhex(each["leaf"]), log_key(service), service.gate.settings.origin)
    roots = [fresh([bytes.fromhex(each["leaf"]) for each in entries[:size]]).root() for size in sizes]
    for old, old_root in zip(sizes, roots, strict=True):
        answer = (await service.client.get(f"/v1/log/consistency?old={old}&new={sizes[-1]}")).json()
        hashes = [base64.b64decode(each) for each in answer["hashes"]]
        merkle.verify_consistency(old, old_root, answer["new"], roots[-1], hashes)
    assert (await service.client.get(f"/v1/log/consistency?old={sizes[-1] + 1}")).status_code == 400
    assert (await service.client.get(f"/v1/log/consistency?old=1&new={sizes[-1] + 1}")).status_code == 400
    old = await service.get(f"/v1/log/entries/{entries[0]['body']['id']}/proof?size={sizes[0]}")
    assert f"\n{sizes[0]}\n" in old.text


def fresh(leaves):
    frontier = Frontier()
    frontier.append(leaves)
    return frontier


async def test_a_monitor_rebuilds_the_tree_from_public_tiles_and_an_auditor_the_entries(service):
    for _ in range(3):
        await service.ask(question())
    service.write([service.now - timedelta(hours=1)] * 300)
    entries = await service.entries()
    client = service.client
    note = (await client.get("/checkpoint")).content
    head = checkpoint.opened(note, log_key(service), service.gate.settings.origin)
    assert head.size == len(entries) > 300
    hashes, bodies = b"", []
    for index in range(0, head.size, 256):
        width = min(256, head.size - index)
        path = f"{tile_path(index // 256)}{f'.p/{width}' if width < 256 else ''}"
        answer = await client.get(f"/tile/0/{path}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        hashes += answer.content
        answer = await service.get(f"/tile/entries/{path}")
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        bodies += unbundled(answer.content)
        assert (await client.get(f"/tile/entries/{path}")).status_code == 401
    read = [each["body"] for each in await service.entries() if each["body"]["type"] == "log_read"]
    assert [(each["from"], each["rows"]) for each in read] == [(0, 256), (256, head.size - 256)]
    leaves = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    assert fresh(leaves).root() == head.root
    assert leaves == [leaf_hash(body) for body in bodies]
    assert (await client.get("/tile/1/000.p/1")).content == fresh(leaves[:256]).root()


def unbundled(data):
    bodies = []
    while data:
        length = int.from_bytes(data[:2], "big")
        bodies.append(data[2 : 2 + length])
        data = data[2 + length :]
    return bodies


@pytest.mark.parametrize(
    "path",
    [
        "0/000.p/0", "0/000.p/256", "0/000.p/99", "0/0", "0/x000/000", "0/001", "0/000", "1/000.p/1", "64/000", "-1/000",
        "0/000.p/1/", "0/000.p/01", "0/xyz", "0/000.p/1000", "0/x999/999",
    ],
)  # fmt: skip
async def test_a_tile_that_is_not_there_is_not_found(service, path):
    await service.sequence()
    assert (await service.client.get("/tile/0/000.p/1")).status_code == 200
    assert (await service.client.get(f"/tile/{quote(path)}")).status_code in {404, 422, 400}


@pytest.mark.parametrize(
    ("index", "path"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")]
)
def test_a_tile_is_named_as_tlog_tiles_says(index, path):
    assert tile_path(index) == path


async def test_a_log_that_was_never_signed_says_so(service):
    assert (await service.client.get("/checkpoint")).status_code == 404
    assert (await service.get("/v1/log/entries")).json() == {"size": 0, "items": [], "next": None}


async def test_the_public_keys_are_listed_for_everybody(service):
    async with service.gate.registry.change("log_key_added", "test") as change:
        await log_keys.announce(change, log_key(service).text)
    (shown,) = (await service.client.get("/v1/log/keys")).json()["items"]
    assert (shown["verifier"], shown["retired"]) == (log_key(service).text, None)


# --- the log as it is -----------------------------------------------------------------------------------------


async def test_the_state_of_the_log_names_head_queue_witnesses_and_timestamp(database, tmp_path):
    one = Witness(VerifierKey("log.example", bytes(32)))
    file = tmp_path / "witnesses"
    file.write_text(f"# one that cosigns, one that never did\n{one.line}\n{Witness(one.log, 'w2.example').line}\n")
    async with Service.running(database, tmp_path, witnesses=file) as service:
        await service.prepare()
        before = (await service.get("/v1/log", Role.OPERATOR)).json()
        assert (before["size"], before["signed"], before["timestamp"]) == (0, {"size": 0, "at": None}, None)
        assert [(before["queue"]["waiting"],)] == service.sql("SELECT count(*) FROM log_queue")
        assert before["queue"]["oldest"] is not None
        await service.sequence()
        ((size, signed),) = service.sql("SELECT size, note FROM log_checkpoints")
        line = checkpoint.cosign(signed, one.name, one.key, 1_900_000_000)
        grown = checkpoint.with_signatures(signed, [line])
        service.sql("UPDATE log_checkpoints SET note = %s, at = at - interval '2 minutes'", grown)
        service.sql("INSERT INTO log_timestamps (size, token) VALUES (%s, 'token')", size)
        after = (await service.get("/v1/log")).json()
        assert {key: after[key] for key in ("origin", "size", "queue", "witnesses")} == {
            "origin": service.gate.settings.origin,
            "size": size,
            "queue": {"waiting": 0, "oldest": None, "refused": 0},
            "witnesses": [
                {"name": one.name, "size": size, "at": "2030-03-17T17:46:40.000000Z", "behind": False},
                {"name": "w2.example", "size": None, "at": None, "behind": True},
            ],
        }
        assert (after["signed"]["size"], after["timestamp"]["size"]) == (size, size)
        assert (await service.client.get("/checkpoint")).content == grown
        found = await service.client.get(f"/v1/log/timestamps/{size}")
        assert (found.content, found.headers["content-type"]) == (
            timestamps.response(b"token"),
            "application/timestamp-reply",
        )
        assert (await service.client.get(f"/v1/log/timestamps/{size + 1}")).status_code == 404


async def test_proofs_and_exports_are_against_a_head_that_witnesses_have_cosigned(database, tmp_path):
    one = Witness(VerifierKey("log.example", bytes(32)))
    file = tmp_path / "witnesses"
    file.write_text(one.line)
    async with Service.running(database, tmp_path, witnesses=file) as service:
        await service.prepare()
        await service.load_programme()
        early = (await service.ask(question())).json()["context"]["id"]
        await service.sequence()
        ((cosigned, signed),) = service.sql("SELECT size, note FROM log_checkpoints")
        grown = checkpoint.with_signatures(signed, [checkpoint.cosign(signed, one.name, one.key, 1_900_000_000)])
        service.sql("UPDATE log_checkpoints SET note = %s", grown)
        late = (await service.ask(question())).json()["context"]["id"]
        await service.sequence()
        newest = service.sql("SELECT max(size) FROM log_checkpoints")[0][0]

        async def head(path):
            proof = tlogproof.Proof.parse((await service.get(path)).content)
            return checkpoint.unverified(proof.checkpoint).size

        assert newest > cosigned
        assert await head(f"/v1/decisions/{early}/proof") == cosigned
        assert await head(f"/v1/decisions/{late}/proof") == newest  # there is no better one yet
        assert await head(f"/v1/decisions/{early}/proof?size={newest}") == newest
        answer = await service.post("/v1/log/exports", Role.AUDITOR, json={})
        (tmp_path / "bundle.zip").write_bytes(answer.content)
        given = Bundle(tmp_path / "bundle.zip")
        assert (given.manifest()[0].size, b"".join(given.blocks(bundle.CHECKPOINT))) == (cosigned, grown)
        # Up to where the list goes, by the first head that reaches so far.
        answer = await service.post("/v1/log/exports", Role.AUDITOR, json={"to": newest})
        (tmp_path / "bundle.zip").write_bytes(answer.content)
        assert Bundle(tmp_path / "bundle.zip").manifest()[0].size == newest
        # Without the witness for a minute, the newest head is better than none of what was written since.
        service.sql("UPDATE log_checkpoints SET at = at - interval '2 minutes'")
        assert await head(f"/v1/decisions/{early}/proof") == newest
        answer = await service.post("/v1/log/exports", Role.AUDITOR, json={})
        (tmp_path / "bundle.zip").write_bytes(answer.content)
        assert Bundle(tmp_path / "bundle.zip").manifest()[0].size >= newest


async def test_that_nobody_sequences_is_said(service, caplog):
    await service.sequence()
    await app._watch(service.gate)
    assert "wait for a sequencer" not in caplog.text
    service.write([service.now - timedelta(minutes=2)])
    await app._watch(service.gate)
    assert "entries wait for a sequencer since " in caplog.text
    await service.sequence()
    caplog.clear()
    await app._watch(service.gate)
    assert caplog.text == ""


async def test_a_service_with_a_file_of_witnesses_that_is_none_does_not_start(database, tmp_path):
    with pytest.raises(Misconfigured, match="witnesses cannot be read"):
        async with Service.running(database, tmp_path, witnesses=tmp_path / "none"):
            pass
