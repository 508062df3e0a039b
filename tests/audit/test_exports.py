"""Exports over HTTP and at the command line: whole, in parts and narrowed; and nothing that only looks complete."""

import asyncio
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from mythos_gate import sequencing
from mythos_gate.audit import bundle, exporting, reading, table
from mythos_gate.audit.verify import verify
from mythos_gate.cli import app
from mythos_gate.errors import NotDecided
from mythos_gate.terms import Role
from tests.audit.test_sequencer import unguarded
from tests.service import proven, question

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(service, tmp_path):
    """A service with a dozen decisions in the tree."""
    for subject in ("acme/us", "acme/ca", "other/nobody") * 4:
        await service.ask(question(subject))
    await service.sequence()
    return service


async def exported(service, tmp_path, **wanted):
    return await service.exported(tmp_path / "bundle.zip", **wanted)


async def test_an_export_is_the_log(log, tmp_path):
    given = await exported(log, tmp_path)
    proven(given, log.trust)
    placed = log.sql(
        "SELECT e.body FROM log_leaves l JOIN log_entries e ON e.id = l.id AND e.at = l.at ORDER BY l.index"
    )
    assert given.read(bundle.RECORDS).split(b"\n")[:-1] == [body for (body,) in placed]
    assert given.names == {
        "manifest.note",
        "checkpoint",
        "checkpoints.ndjson",
        "records.ndjson",
        "leaves.bin",
        "subtrees.txt",
    }


@pytest.mark.parametrize("page", [1, 3, 1000])
async def test_windows_leave_nothing_out(log, tmp_path, monkeypatch, page):
    monkeypatch.setattr(exporting, "PAGE", page)
    monkeypatch.setattr(exporting, "HASHES", 256)
    for wanted in ({}, {"from": 3, "to": 17}, {"filters": {"type": "decision"}}):
        proven(await exported(log, tmp_path, **wanted), log.trust)


async def test_all_forms_tell_of_the_same_entries(log, tmp_path, monkeypatch):
    forms = ["ndjson", "csv", "ocsf", *(["parquet"] if table.has_parquet() else [])]
    given = await exported(log, tmp_path, formats=forms)
    report = proven(given, log.trust)
    records = given.read(bundle.RECORDS).splitlines()
    assert len(given.read("events.ocsf.ndjson").splitlines()) == len(records) == report.leaves
    assert given.read("records.csv").count(b"\r\n") == len(records) + 1
    if table.has_parquet():
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_table(io.BytesIO(given.read("records.parquet"))).num_rows == len(records)


async def test_without_pyarrow_parquet_says_what_to_install(log, monkeypatch):
    monkeypatch.setattr(table, "has_parquet", lambda: False)
    answer = await log.post("/v1/log/exports", Role.AUDITOR, json={"formats": ["parquet"]})
    assert (answer.status_code, answer.json()["detail"]) == (
        400, "formats: parquet needs pyarrow where the gate runs: pip install 'mythos-gate[exports]'",
    )  # fmt: skip


async def test_a_narrowed_export_says_that_it_proves_no_completeness(log, tmp_path):
    [(organization,)] = log.sql("SELECT id FROM organizations WHERE slug = 'acme'")
    given = await exported(log, tmp_path, filters={"organization": organization, "decision": "allow"})
    report = proven(given, log.trust)
    assert report.leaves == 8
    assert given.manifest()[0].filters == {"organization": organization, "decision": "allow"}
    assert not given.manifest()[0].is_complete


async def test_an_export_is_in_the_log_before_its_first_byte(log, tmp_path):
    given = await exported(log, tmp_path, **{"from": 2, "filters": {"type": "decision"}})
    entry = (await log.entries())[-1]["body"]
    manifest = given.manifest()[0]
    assert {name: entry[name] for name in ("type", "from", "to", "size", "formats", "filters", "export", "actor")} == {
        "type": "log_exported", "from": 2, "to": manifest.size, "size": manifest.size, "formats": ["ndjson"],
        "filters": ["type"], "export": manifest.export, "actor": manifest.by,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"from": 5, "to": 5}, 400),
        ({"from": 6, "to": 5}, 400),
        ({"to": 10**9}, 400),
        ({"size": 10**9}, 404),
        ({"from": -1}, 400),
        ({"from": True}, 400),
        ({"formats": ["xml"]}, 400),
        ({"filters": {"color": "red"}}, 400),
        ({"filters": {"since": "yesterday"}}, 400),
        ({"more": 1}, 400),
    ],
)
async def test_what_cannot_be_exported_is_a_problem_and_no_stream(log, wanted, status):
    before = log.sql("SELECT count(*) FROM log_entries")
    answer = await log.post("/v1/log/exports", Role.AUDITOR, json=wanted)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert log.sql("SELECT count(*) FROM log_entries") == before


async def test_only_who_may_read_the_log_may_export_it(log):
    assert (await log.post("/v1/log/exports", Role.COMPLIANCE, json={})).status_code == 403
    assert (await log.client.post("/v1/log/exports", json={})).status_code == 401


async def test_a_log_that_nobody_signed_yet_has_nothing_to_export(service):
    assert (await service.post("/v1/log/exports", Role.AUDITOR, json={})).status_code == 404


async def test_what_breaks_off_cannot_be_taken_for_a_bundle(log, tmp_path, monkeypatch):
    asked: list[int] = []
    real = reading.page

    async def page(*arguments):
        asked.append(1)
        if len(asked) > 3:
            raise NotDecided("the records cannot be read")
        return await real(*arguments)

    monkeypatch.setattr(exporting, "PAGE", 5)
    monkeypatch.setattr(reading, "page", page)
    answer = await log.post("/v1/log/exports", Role.AUDITOR, json={})
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(answer.content))


async def test_old_entries_that_are_no_longer_kept_leave_their_hashes(log, tmp_path):
    unguarded(log, "DELETE FROM log_entries e USING log_leaves l WHERE l.id = e.id AND l.index < 5")
    given = await exported(log, tmp_path)
    assert given.manifest()[0].not_kept == 5
    assert verify(given, log.trust).exit_code == 1
    report = verify(given, log.trust, pruned=5)
    assert (report.findings, report.exit_code) == ([], 0)
    assert "entries that are no longer kept (5)" in report.unchecked


async def test_checkpoints_of_the_range_are_thinned_and_the_last_stays(log, tmp_path, monkeypatch):
    for _ in range(6):
        await log.ask(question())
        await log.sequence()
    monkeypatch.setattr(exporting, "MOST_CHECKPOINTS", 3)
    given = await exported(log, tmp_path, **{"from": size_of(log) - 6})
    notes = [json.loads(line) for line in given.read(bundle.CHECKPOINTS).splitlines()]
    assert 2 <= len(notes) <= 4 < 6
    assert notes[-1].encode() == given.read(bundle.CHECKPOINT)


# --- the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def cli(log, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", log.database)
    monkeypatch.setenv("MYTHOS_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("MYTHOS_GATE_KEY", log.keys[Role.AUDITOR])
    monkeypatch.setenv("COLUMNS", "200")
    keys = tmp_path / "keys.txt"
    keys.write_text("\n".join(each.verifier.text for each in sequencing._signers(log.gate.settings).values()))

    def command(*arguments):
        result = CliRunner().invoke(app, ["log", *map(str, arguments)])
        return result.exit_code, result.output

    async def run(*arguments):
        return await asyncio.to_thread(command, *arguments)

    run.keys = keys  # type: ignore[attr-defined]
    return run


async def test_the_command_writes_a_bundle_records_it_and_verifies_it(log, cli, tmp_path):
    out = tmp_path / "out.zip"
    code, output = await cli("export", out, "--from", 2, "--to", 20, "--format", "ndjson,csv")
    assert (code, output.partition(":")[2]) == (0, f" leaves 2 to 19 of {size_of(log)}, provably complete\n")
    assert sorted(tmp_path.glob("out*")) == [out]
    code, output = await cli("verify", out, "--key", cli.keys)
    told = f"VERIFIED     leaves 2 to 19 of the {size_of(log)} entries of mythos-gate.local/log"
    assert (code, output.splitlines()[-1]) == (0, told)
    entry = (await log.entries())[-1]["body"]
    assert (entry["type"], entry["from"], entry["to"], entry["formats"]) == ("log_exported", 2, 20, ["ndjson", "csv"])
    proven(await exported(log, tmp_path), log.trust)


def size_of(log):
    return log.sql("SELECT max(size) FROM log_checkpoints")[0][0]


async def test_the_command_narrows(log, cli, tmp_path):
    since = (log.now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    code, output = await cli(
        "export", tmp_path / "x.zip", "--type", "decision", "--since", since, "--reason", "NO_GRANT"
    )
    assert (code, "not that none is left out" in output) == (0, True)
    code, output = await cli("verify", tmp_path / "x.zip", "--key", cli.keys)
    assert (code, "completeness: the records were picked out" in output) == (0, True)


async def test_an_export_that_is_interrupted_leaves_no_bundle(log, cli, tmp_path, monkeypatch):
    async def page(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "page", page)
    out = tmp_path / "out.zip"
    assert (await cli("export", out))[0] != 0
    assert [path.name for path in tmp_path.glob("out*")] == ["out.zip.part"]
    assert (await cli("verify", tmp_path / "out.zip.part", "--key", cli.keys))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("export", "x.zip", "--format", "xml"), "xml is not among ndjson, csv, parquet, ocsf"),
        (("export", "x.zip", "--to", "999999"), "has no leaves 0 to 999999"),
        (("export", "x.zip", "--key", "mgk_0"), ""),
    ],
)
async def test_what_the_command_cannot_export_is_told(cli, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, output = await cli(*arguments)
    assert (code, told in output, list(tmp_path.glob("x*"))) == (1, True, [])


async def test_verifying_ends_with_1_for_a_finding_and_2_for_what_it_cannot_read(log, cli, tmp_path):
    out = tmp_path / "out.zip"
    await cli("export", out)
    stranger = "test.example/log+" + log.trust.keys[0].text.partition("+")[2]
    for arguments, code in (
        ((out, "--key", cli.keys), 0),
        ((out, "--key", cli.keys, "--quorum", 1), 1),
        ((out, "--key", "nonsense"), 2),
        ((out, "--key", stranger), 2),
        ((out,), 2),
        ((cli.keys, "--key", cli.keys), 2),
        ((tmp_path / "nothing.zip", "--key", cli.keys), 2),
        ((out, "--key", cli.keys, "--checkpoint", cli.keys), 2),
        ((out, "--key", cli.keys, "--receipt", cli.keys), 2),
        ((out, "--key", cli.keys, "--high-water", cli.keys), 2),
        ((out, "--key", cli.keys, "--high-water", tmp_path / "writers" / "writer-0.json"), 0),
    ):
        assert (await cli("verify", *arguments))[0] == code, arguments


async def test_a_high_water_file_is_as_old_as_it_was_written_last(log, cli, tmp_path):
    out, kept = tmp_path / "out.zip", tmp_path / "kept.json"
    await cli("export", out)
    kept.write_text('{"writer": "pdp-4444444444444444", "n": 1, "leaf": "00"}')
    assert (await cli("verify", out, "--key", cli.keys, "--high-water", kept))[0] == 0
    os.utime(kept, (0, 0))
    code, output = await cli("verify", out, "--key", cli.keys, "--high-water", kept)
    assert (code, "the high-water file knows entry 1 of pdp-4444444444444444" in output) == (1, True), output


async def test_an_empty_high_water_file_says_nothing_and_one_that_is_none_is_named(log, cli, tmp_path):
    """A process makes its file when it starts, and writes it with its first entry."""
    out, kept, empty = tmp_path / "out.zip", tmp_path / "kept.json", tmp_path / "empty.json"
    await cli("export", out)
    for nothing in ("", "\n", " " * 255 + "\n"):
        empty.write_text(nothing)
        code, output = await cli("verify", out, "--key", cli.keys, "--high-water", empty)
        assert code == 0
        assert f"{empty} is empty" in output
    kept.write_text('{"writer": "pdp-4444444444444444", "n": 1, "leaf": "00"}')
    os.utime(kept, (0, 0))
    assert (await cli("verify", out, "--key", cli.keys, "--high-water", empty, "--high-water", kept))[0] == 1
    for odd in (
        "null", "[]", "x", '{"writer": "x", "n": 1}', '{"writer": 1, "n": 1, "leaf": "00"}', '{"writer": "x", "n": 1, "leaf": "g"}',
        '{"writer": "x", "n": "1", "leaf": "00"}', '{"writer": "x", "n": true, "leaf": "00"}', "[" * 100_000, "\udc80",
    ):  # fmt: skip
        kept.write_bytes(odd.encode(errors="surrogateescape"))
        code, output = await cli("verify", out, "--key", cli.keys, "--high-water", kept)
        assert (code, f"{kept} is no high-water file" in output) == (2, True), (odd[:50], output)


async def test_many_entries_are_verified_by_several_processes(log, cli, tmp_path, monkeypatch):
    monkeypatch.setattr("mythos_gate.log_commands.MANY", 1)
    monkeypatch.setattr("mythos_gate.audit.bundle.BLOCK", 2000)
    out = tmp_path / "out.zip"
    await cli("export", out)
    code, output = await asyncio.to_thread(lambda: _in_a_process(out, cli.keys))
    assert (code, "\nVERIFIED " in output) == (0, True), output


def _in_a_process(out, keys):
    program = (
        "import sys; from mythos_gate import log_commands; from mythos_gate.audit import bundle; from mythos_gate.cli import app;"
        "log_commands.MANY = 1; bundle.BLOCK = 2000; app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "log", "verify", str(out), "--key", str(keys)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


async def test_one_proof_is_verified_alone(log, cli, tmp_path):
    item = (await log.get("/v1/log/entries?type=decision&limit=1")).json()["items"][0]
    entry, proof = tmp_path / "entry.json", tmp_path / "proof"
    entry.write_text(item["stored"])
    proof.write_bytes((await log.get(f"/v1/log/entries/{item['body']['id']}/proof")).content)
    code, output = await cli("verify-proof", proof, "--entry", entry, "--key", cli.keys)
    assert (code, f"the entry is leaf {item['index']} of" in output) == (0, True)
    entry.write_text(item["stored"].replace("deny", "hold").replace("allow", "hold"))
    assert (await cli("verify-proof", proof, "--entry", entry, "--key", cli.keys))[0] == 1
    assert (await cli("verify-proof", entry, "--entry", entry, "--key", cli.keys))[0] == 2
