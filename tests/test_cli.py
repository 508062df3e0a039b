"""The command line as an officer and an operator use it."""

import asyncio
import json
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, update
from typer.testing import CliRunner

from mythos_gate import db, log_commands, sequencing, tables
from mythos_gate.app import create, digest_key, make_digest_key
from mythos_gate.audit import keys
from mythos_gate.cli import app
from mythos_gate.db import DbRole
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.errors import Misconfigured, NotDecided
from mythos_gate.registry.change import Registry
from mythos_gate.registry.imports import KINDS
from mythos_gate.settings import Settings, root
from mythos_gate.terminal import LOCAL, with_registry
from tests.service import DIGEST_KEY, PROGRAMME

POLICIES = root() / "policies"


@pytest.fixture
def cli(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command against a fresh database; `key` goes along once there is one."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("MYTHOS_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    # `serve` puts its address into the environment, for its workers.
    monkeypatch.setenv("MYTHOS_GATE_HOST", "127.0.0.1")
    monkeypatch.setenv("MYTHOS_GATE_PORT", "8321")
    monkeypatch.delenv("MYTHOS_GATE_KEY", raising=False)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def officer(cli, monkeypatch: pytest.MonkeyPatch) -> str:
    key: str = cli("keys", "create", "Ada Officer", "--role", "compliance", "--person", "office/ada").strip()
    monkeypatch.setenv("MYTHOS_GATE_KEY", key)
    return key


@pytest.fixture
def direct(cli, officer) -> None:
    """A database marked as the demo's, in which one officer suffices at the command line."""

    async def mark(registry: Registry) -> None:
        async with registry.change("demo_started", "test") as change:
            await change.connection.execute(update(tables.programme).values(demo=True))

    with_registry(Settings(), mark)


@pytest.fixture
def second(cli, officer) -> str:
    """Another officer's key; of the first two, the second needs nobody else."""
    key: str = cli("keys", "create", "Bo Officer", "--role", "compliance", "--person", "office/bo").strip()
    return key


def entries(database: str) -> list[dict[str, Any]]:
    with psycopg.connect(database) as owner:
        return [json.loads(body) for (body,) in owner.execute("SELECT body FROM log_entries ORDER BY at")]


# --- keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_its_making_is_logged(cli, officer, database):
    listed = cli("keys", "list")
    identifier = officer.split("_")[1]
    assert identifier in listed
    assert "Ada Officer" in listed
    assert officer.split("_")[2] not in listed
    (entry,) = entries(database)
    assert (entry["type"], entry["key"], entry["roles"]) == ("key_created", identifier, ["compliance"])
    assert officer.split("_")[2] not in json.dumps(entry)


def test_a_revoked_key_does_nothing_any_more(cli, officer, second):
    cli("keys", "revoke", officer.split("_")[1])
    assert "not valid" in cli("policy", "activate", str(POLICIES), code=1)
    assert "not valid" in cli("keys", "list", code=1)
    assert "revoked before" in cli("keys", "revoke", officer.split("_")[1], "--key", second, code=1)


def test_a_revocation_is_logged_with_the_key_and_by_whom(cli, officer, second, database):
    cli("keys", "revoke", officer.split("_")[1], "--key", second)
    entry = entries(database)[-1]
    assert (entry["type"], entry["key"]) == ("key_revoked", officer.split("_")[1])
    with psycopg.connect(database) as owner:
        found = owner.execute("SELECT id FROM callers WHERE name = 'Bo Officer'").fetchall()
    assert found == [(entry["actor"],)]


def test_keys_are_listed_and_revoked_by_who_may_and_before_there_are_any_by_whoever_runs_it(cli, monkeypatch):
    assert "roles" in cli("keys", "list")
    officers = []
    for name in ("ada", "bo"):
        made = cli("keys", "create", name, "--role", "compliance", "--person", f"office/{name}").strip()
        officers.append(made)
        monkeypatch.setenv("MYTHOS_GATE_KEY", officers[0])
    gateway = cli("keys", "create", "gw", "--role", "gateway", "--service")
    cli("requests", "approve", *gateway.split("requests approve ")[1].split(), "--key", officers[1])
    assert "gw" in cli("keys", "list", "--key", officers[1])
    monkeypatch.delenv("MYTHOS_GATE_KEY")
    for command in (["list"], ["revoke", officers[0].split("_")[1]]):
        assert "give yours with --key" in cli("keys", *command, code=1)
        assert "may not operate" in cli("keys", *command, "--key", gateway.splitlines()[0], code=1)
    assert "roles" in cli("keys", "list", "--key", officers[0])


def test_in_the_demos_database_keys_need_none(cli, officer, direct, monkeypatch):
    monkeypatch.delenv("MYTHOS_GATE_KEY")
    assert "Ada Officer" in cli("keys", "list")
    assert "is revoked" in cli("keys", "revoke", officer.split("_")[1])


def test_whoever_requested_a_change_withdraws_it(cli, officer, second):
    asked = cli("keys", "create", "gw", "--role", "gateway", "--service").split("requests approve ")[1].split()
    assert "only whoever requested" in cli("requests", "withdraw", asked[0], "--key", second, code=1)
    assert cli("requests", "withdraw", asked[0]) == f"{asked[0]} is withdrawn\n"
    assert "is withdrawn" in cli("requests", "approve", *asked, "--key", second, code=1)


def test_a_key_for_some_days_expires(cli, database):
    cli("keys", "create", "gw", "--role", "gateway", "--service", "--days", "2")
    with psycopg.connect(database) as owner:
        ((left,),) = owner.execute("SELECT expires_at - now() FROM api_keys").fetchall()
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)


def test_a_person_does_not_become_a_service_by_a_new_key(cli, second):
    assert "is a person" in cli("keys", "create", "Ada Officer", "--role", "compliance", "--service", code=1)


def test_an_existing_caller_does_not_get_other_roles_by_a_new_key(cli, second):
    assert "Ada Officer is a person with the roles compliance" in cli(
        "keys", "create", "Ada Officer", "--role", "auditor", code=1
    )


@pytest.mark.parametrize("key", ["", "mgk_a_b_c", "nonsense"])
def test_what_is_no_key_is_refused(cli, key):
    assert "API key" in cli("policy", "activate", str(POLICIES), "--key", key, code=1)


def test_an_auditors_key_neither_imports_nor_activates(cli, tmp_path):
    key = cli("keys", "create", "Au Ditor", "--role", "auditor").strip()
    file = tmp_path / "authorities.csv"
    file.write_text(PROGRAMME["authorities"])
    assert "may not activate policy" in cli("policy", "activate", str(POLICIES), "--key", key, code=1)
    assert "may not import" in cli("import", "authorities", str(file), "--key", key, code=1)


def test_every_key_but_the_first_two_officers_takes_two(cli, officer, database):
    other = ("keys", "create", "gw", "--role", "gateway", "--service")
    assert "give yours with --key" in cli(*other, "--key", "", code=1)
    # Alone, an officer gets a second one, and nothing else: not a second key of their own, nor other roles.
    alone = cli(*other)
    assert "opens nothing until a second officer approves it" in alone
    own = cli("keys", "create", "Ada again", "--role", "compliance", "--person", "office/ada", code=0)
    assert "opens nothing until" in own
    bo = cli("keys", "create", "Bo Officer", "--role", "compliance", "--person", "office/bo").strip()
    assert "opens nothing" not in bo
    third = cli("keys", "create", "Cy Officer", "--role", "compliance", "--person", "office/bo")
    assert "opens nothing until" in third
    made = [(entry["type"], entry["actor"]) for entry in entries(database)]
    assert [kind for kind, _ in made] == ["key_created", *["change_requested"] * 2, "key_created", "change_requested"]
    assert made[0][1] == LOCAL
    assert made[3][1] == made[1][1] != LOCAL
    key, asked = alone.splitlines()[0], alone.split("requests approve ")[1].split()
    assert "not valid" in cli("policy", "activate", str(POLICIES), "--key", key, code=1)
    listed = cli("requests", "list")
    assert f"{asked[0]} {asked[1]} requested until" in listed
    assert json.loads(cli("requests", "show", asked[0]))["after"]["name"] == "gw"
    assert "a second officer must" in cli("requests", "approve", *asked, code=1)
    assert "read it again" in cli("requests", "approve", asked[0], "0" * 64, "--key", bo, code=1)
    assert "is approved" in cli("requests", "approve", *asked, "--key", bo)
    assert "may not activate policy" in cli("policy", "activate", str(POLICIES), "--key", key, code=1)
    again = own.split("requests approve ")[1].split()
    assert "is rejected" in cli("requests", "reject", again[0], "--reason", "one is enough", "--key", bo)
    assert "is rejected" in cli("requests", "approve", *again, "--key", bo, code=1)


def test_the_first_officer_is_put_on_record_and_who_is_not_requests_nothing(cli, database):
    key = cli("keys", "create", "Nobody", "--role", "compliance").strip()
    refused = cli("keys", "create", "Bo", "--role", "compliance", "--person", "office/bo", "--key", key, code=1)
    assert "names no person on record" in refused
    assert "names no person on record" in cli("policy", "activate", str(POLICIES), "--key", key, code=1)


# --- import -----------------------------------------------------------------------------------------------------


def test_a_file_is_imported_updated_and_logged_under_the_officers_name(cli, direct, database, tmp_path):
    file = tmp_path / "authorities.csv"
    file.write_text(PROGRAMME["authorities"])
    assert "2 authorities: 2 created, 0 updated, 0 unchanged" in cli("import", "authorities", str(file))
    file.write_text(PROGRAMME["authorities"].replace("200", "150"))
    assert "0 created, 1 updated, 1 unchanged" in cli("import", "authorities", str(file))
    entry = entries(database)[-1]
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT name FROM callers WHERE id = %s", [entry["actor"]]).fetchone() == ("Ada Officer",)
    assert (entry["type"], entry["kind"], entry["updated"]) == ("imported", "authorities", 1)


def test_a_bad_file_is_told_with_line_column_and_remedy_and_changes_nothing(cli, officer, database, tmp_path):
    file = tmp_path / "authorities.csv"
    file.write_text("authority,name,kind\nfine,Fine,vendor\nbad,Bad,vendr\n")
    told = cli("import", "authorities", str(file), code=1)
    assert "line 3, column kind: 'vendr'" in told
    assert "use vendor, government" in told
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT count(*) FROM authorities").fetchone() == (0,)


def test_an_unknown_kind_is_told(cli, officer, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("a\n")
    assert "authorities" in cli("import", "persons", str(file), code=1)


def test_a_data_set_without_a_review_is_told_to_deny_everything(cli, direct):
    assert "not reviewed, so every request is denied" in cli(
        "import", "jurisdictions", str(POLICIES / "jurisdictions.csv")
    )


def test_a_folder_is_imported_in_order_and_a_dry_run_changes_nothing(cli, direct, database, tmp_path):
    told = cli("generate", str(tmp_path), "--organizations", "3", "--people", "30", "--seed", "4")
    assert "30 people" in told
    before = len(entries(database))
    told = cli("import", str(tmp_path), "--relative", "--dry-run")
    assert "30 people: would be 30 created, 0 updated, 0 unchanged" in told
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT slug FROM organizations").fetchall() == [("office",)]
    assert len(entries(database)) == before
    told = cli("import", str(tmp_path), "--relative")
    assert "3 organizations: 3 created" in told
    assert "30 people: 30 created, 0 updated, 0 unchanged" in told
    assert [entry["kind"] for entry in entries(database)[before:]][:3] == ["authorities", "models", "organizations"]
    again = cli("import", "people", str(tmp_path / "people.csv"), "--dry-run", "--relative")
    assert "30 people: would be 0 created" in again
    assert "is a relative time" in cli("import", "people", str(tmp_path / "people.csv"), code=1)


def test_what_is_no_folder_and_an_empty_one_are_told(cli, officer, tmp_path):
    assert "is no folder: give KIND FILE" in cli("import", "people", code=1)
    assert "none of the files authorities" in cli("import", str(tmp_path), code=1)
    assert "at least 30" in cli("generate", str(tmp_path), "--organizations", "10", "--people", "20", code=1)


def test_a_reviewed_data_set_is_imported(cli, direct, database):
    cli(
        "import",
        "jurisdictions",
        str(POLICIES / "jurisdictions.csv"),
        "--data-version",
        "v1",
        "--reviewed-at",
        "2026-11-01",
    )
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT d.version FROM programme JOIN data_sets d ON d.id = data_set_id").fetchone() == (
            "v1",
        )


def _programme(folder: Path) -> Path:
    for kind, text in PROGRAMME.items():
        (folder / f"{kind}.csv").write_text(_dated(text))
    return folder


def test_a_folder_is_in_force_when_a_second_officer_approves_it(cli, officer, second, database, tmp_path):
    counted = "SELECT (SELECT count(*) FROM authorities), (SELECT count(*) FROM people), (SELECT count(*) FROM grants)"
    folder = str(_programme(tmp_path))
    assert "2 people: would be 2 created" in cli("import", folder, "--dry-run")
    told = cli("import", folder)
    assert "authorities: would be 2 created, 0 updated, 0 unchanged\n" in told
    asked = told.splitlines()[-1].split()
    with psycopg.connect(database) as owner:
        assert owner.execute(counted).fetchone() == (0, 2, 0)  # the officers are on record
    assert "a second officer must" in cli("requests", "approve", *asked, code=1)
    assert json.loads(cli("requests", "show", asked[0]))["after"]["grants"]["created"] == 2
    since = len(entries(database))
    assert "is approved" in cli("requests", "approve", *asked, "--key", second)
    with psycopg.connect(database) as owner:
        assert owner.execute(counted).fetchone() == (2, 4, 2)
        known: dict[str, str] = dict(owner.execute("SELECT name, id FROM callers").fetchall())
    made = entries(database)[since:]
    assert [(entry["type"], entry["kind"]) for entry in made] == [
        ("imported", kind) for kind in KINDS if kind in PROGRAMME
    ]
    for entry in made:
        assert (entry["actor"], entry["requested_by"]) == (known["Bo Officer"], known["Ada Officer"])
        assert entry["change_request"] == asked[0]


def test_what_is_of_the_demo_or_too_large_is_not_requested(cli, officer, database, tmp_path, monkeypatch):
    folder = str(_programme(tmp_path))
    assert "are for the demo's database" in cli("import", folder, "--relative", code=1)
    monkeypatch.setenv("MYTHOS_GATE_IMPORT_LIMIT", "1000")
    for further in ((), ("--dry-run",)):
        told = cli("import", folder, *further, code=1)
        assert "one request takes 1000 at most (MYTHOS_GATE_IMPORT_LIMIT): request them in parts" in told
    cli("import", "authorities", str(tmp_path / "authorities.csv"))
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT count(*) FROM change_requests").fetchone() == (1,)


def test_a_data_set_is_in_force_when_a_second_officer_approves_it(cli, officer, second, database):
    file = ("import", "jurisdictions", str(POLICIES / "jurisdictions.csv"))
    in_force = "SELECT d.version FROM programme JOIN data_sets d ON d.id = data_set_id"
    assert "on record and not in force" in cli(*file, "--data-version", "v1")
    assert "still to come" in cli(*file, "--reviewed-at", "2100-01-01", code=1)
    asked = cli(*file, "--reviewed-at", time.strftime("%Y-%m-%d")).split()
    with psycopg.connect(database) as owner:
        assert owner.execute(in_force).fetchall() == []
        assert "a second officer must" in cli("requests", "approve", *asked, code=1)
        assert "is approved" in cli("requests", "approve", *asked, "--key", second)
        assert owner.execute(in_force).fetchall() == [("v1",)]
    kinds = [entry["type"] for entry in entries(database)]
    assert kinds[-3:] == ["data_set_imported", "change_requested", "data_set_activated"]


def test_whoever_approves_files_reads_them_before_and_that_is_logged(cli, officer, second, database, tmp_path):
    asked = cli("import", str(_programme(tmp_path))).splitlines()[-1].split()
    copy, since = tmp_path / "copy", len(entries(database))
    told = cli("requests", "show", asked[0], "--files", str(copy), "--key", second)
    assert json.loads(told)["sha256"] == asked[1]
    assert {path.name: path.read_text() for path in copy.iterdir()} == {
        f"{kind}.csv": (tmp_path / f"{kind}.csv").read_text() for kind in PROGRAMME
    }
    assert {path.stat().st_mode & 0o777 for path in copy.iterdir()} == {0o600}
    assert [(entry["type"], entry["change_request"]) for entry in entries(database)[since:]] == [
        ("files_read", asked[0])
    ]
    assert "File exists" in cli("requests", "show", asked[0], "--files", str(copy), code=1)
    cli("requests", "approve", *asked, "--key", second)
    assert "is approved: nothing further" in cli("requests", "show", asked[0], "--files", str(copy), code=1)
    other = cli("policy", "activate", str(POLICIES)).split()
    assert "no files" in cli("requests", "show", other[0], "--files", str(copy), code=1)
    auditor = cli("keys", "create", "Au Ditor", "--role", "auditor")
    cli("requests", "approve", *auditor.split("requests approve ")[1].split(), "--key", second)
    again = cli("import", str(tmp_path / "people.csv"), code=1)
    assert "is no folder" in again
    again = cli("import", "people", str(tmp_path / "people.csv")).splitlines()[-1].split()
    cli("requests", "show", again[0], "--key", auditor.splitlines()[0])
    told = cli("requests", "show", again[0], "--files", str(tmp_path / "a"), "--key", auditor.splitlines()[0], code=1)
    assert "may not decide" in told
    assert not (tmp_path / "a").exists()
    with psycopg.connect(database, autocommit=True) as owner:  # as an erasure does
        owner.execute("DELETE FROM change_request_contents")
    assert "no files" in cli("requests", "show", again[0], "--files", str(copy), "--key", second, code=1)


# --- policy -----------------------------------------------------------------------------------------------------


def test_activating_flips_the_revision_and_activating_again_keeps_its_number(cli, direct, database, tmp_path):
    assert "policy revision 1 is active" in cli("policy", "activate", str(POLICIES))
    other = tmp_path / "policy"
    other.mkdir()
    for name in ("model.conf", "access.csv", "reasons.csv", "messages.csv"):
        (other / name).write_text((POLICIES / name).read_text())
    (other / "access.csv").write_text(
        (POLICIES / "access.csv").read_text().replace("screening-stale,51", "screening-stale,54")
    )
    assert "policy revision 2 is active" in cli("policy", "activate", str(other))
    assert "policy revision 1 is active" in cli("policy", "activate", str(POLICIES))
    activated = [entry for entry in entries(database) if entry["type"] == "policy_activated"]
    assert [(entry["before"], entry["after"]) for entry in activated] == [(None, 1), (1, 2), (2, 1)]
    assert activated[0]["sha256"] == activated[2]["sha256"] == Policy(read_files(POLICIES)).sha256


def test_a_policy_is_in_force_when_a_second_officer_approves_it(cli, officer, second, database):
    asked = cli("policy", "activate", str(POLICIES)).split()
    assert cli("policy", "activate", str(POLICIES)).split() != asked
    assert [entry["type"] for entry in entries(database) if entry["type"].startswith("policy")] == ["policy_stored"]
    assert "a second officer must" in cli("requests", "approve", *asked, code=1)
    assert "is approved" in cli("requests", "approve", *asked, "--key", second)
    (entry,) = [entry for entry in entries(database) if entry["type"] == "policy_activated"]
    assert (entry["change_request"], entry["sha256"]) == (asked[0], Policy(read_files(POLICIES)).sha256)


def test_a_broken_policy_is_not_activated(cli, officer, database, tmp_path):
    for name in ("model.conf", "reasons.csv", "messages.csv"):
        (tmp_path / name).write_text((POLICIES / name).read_text())
    assert "access.csv is missing" in cli("policy", "activate", str(tmp_path), code=1)
    (tmp_path / "access.csv").write_text(
        (POLICIES / "access.csv").read_text().replace(",deny,DENY,CLOCK", ",Deny,DENY,CLOCK")
    )
    assert "'Deny' is not one of allow, deny" in cli("policy", "activate", str(tmp_path), code=1)
    with psycopg.connect(database) as owner:
        assert owner.execute("SELECT count(*) FROM policy_revisions").fetchone() == (0,)


def test_cases_are_run_and_counted_without_a_database(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    files = [str(path) for path in sorted((POLICIES / "cases").glob("*.json"))]
    result = CliRunner().invoke(app, ["policy", "test", *files])
    assert result.exit_code == 0
    passed = sum(len(json.loads(Path(file).read_text())["scenarios"]) for file in files)
    assert result.output.endswith(f"{passed} passed, 0 failed\n")


def test_a_failing_case_shows_expected_got_and_facts(cli, tmp_path):
    file = json.loads((POLICIES / "cases" / "agents.json").read_text())
    file["scenarios"] = file["scenarios"][:2]
    file["scenarios"][0]["expect"]["primary_reason"] = "STATELESS_REVIEW"
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(file))
    told = cli("policy", "test", str(path), code=1)
    assert "primary_reason: expected STATELESS_REVIEW, got" in told
    assert "facts: integrity=sound" in told
    assert told.endswith("1 passed, 1 failed\n")


def test_an_unknown_field_of_a_case_is_an_error(cli, tmp_path):
    file = json.loads((POLICIES / "cases" / "agents.json").read_text())
    file["base"]["person"]["shoe_size"] = 44
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(file))
    assert "person.shoe_size" in cli("policy", "test", str(path), code=1)


def test_another_policy_gives_other_answers(cli, tmp_path):
    for name in ("model.conf", "access.csv", "reasons.csv", "messages.csv"):
        text = (POLICIES / name).read_text()
        (tmp_path / name).write_text(
            "\n".join(line for line in text.splitlines() if not line.startswith("training-expired")) + "\n"
        )
    assert " failed" in cli(
        "policy", "test", str(POLICIES / "cases" / "obligations.json"), "--policy", str(tmp_path), code=1
    )


def edited(folder: Path, old: str, new: str) -> Path:
    """The baseline in a folder of its own, with one edit of its table."""
    folder.mkdir()
    for name, text in read_files(POLICIES).items():
        assert name != "access.csv" or old in text
        (folder / name).write_text(text.replace(old, new) if name == "access.csv" else text)
    return folder


SCREENING = "screening-pending,50,person,deny,HOLD,SCREENING_HIT_PENDING,no,screening=pending\n"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch):
    """The command line without a database."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.exception if code == 0 else None) == (code, None), result.output
        return result.output

    return run


def test_the_baseline_passes_its_checks_and_its_invariants_are_proven(offline):
    assert re.fullmatch(
        r"findings: 0; cases: \d+ passed, 0 failed; invariants: (\d+) of \1 hold\n", offline("policy", "check")
    )
    assert offline("policy", "prove").endswith(" hold, 0 broken\n")


def test_a_broken_invariant_is_told_with_a_counterexample_in_words(offline, tmp_path):
    draft = edited(tmp_path / "draft", SCREENING, "")
    broken = (
        "clear-screening (never allow where screening=!clear): is broken: the policy allows when"
        " a possible match of the person waits for adjudication; everything else is in order"
    )
    proven, checked = (offline("policy", command, str(draft), code=1).splitlines() for command in ("prove", "check"))
    assert broken in proven
    assert proven[-1].endswith(", 1 broken")
    assert f"FOUND {broken}" in checked
    own = tmp_path / "own.csv"
    own.write_text("name,statement,why\nnobody-abroad,never allow where presence=us_abroad,as agreed\n")
    told = offline("policy", "prove", "--invariants", str(own), code=1)
    assert "nobody-abroad" in told
    assert "a US person is abroad; everything else is in order" in told


def test_two_policies_differ_by_rows_and_by_answers(offline, tmp_path):
    draft = str(edited(tmp_path / "draft", SCREENING, SCREENING.replace("HOLD", "DENY")))
    (tmp_path / "draft" / "thresholds.csv").write_text(
        (POLICIES / "thresholds.csv").read_text().replace("approvers,2", "approvers,3")
    )
    said = "SCREENING_HIT_PENDING (person, 50) where screening=pending"
    limit = "threshold approvers: 2 before, 3 after"
    assert offline("policy", "diff", str(POLICIES), draft).splitlines() == [
        f"- screening-pending: HOLD {said}",
        f"+ screening-pending: DENY {said}",
        limit,
    ]
    assert offline("policy", "diff", str(POLICIES), draft, "--semantic").splitlines() == [
        "stricter",
        "  held before, denied after: a possible match of the person waits for adjudication; everything else is in order",
        limit,
    ]
    assert offline("policy", "diff", str(POLICIES), str(POLICIES), "--semantic") == "equal\n"
    assert "is missing" in offline("policy", "diff", str(POLICIES), str(tmp_path), code=1)
    assert "give --key" in offline("policy", "diff", str(POLICIES), "a" * 64, code=1)


def test_a_policy_on_record_is_told_apart_from_a_folder(cli, direct, tmp_path):
    cli("policy", "activate", str(POLICIES))
    draft = edited(tmp_path / "draft", SCREENING, "")
    stored = Policy(read_files(POLICIES)).sha256
    assert "looser" in cli("policy", "diff", stored, str(draft), "--semantic")
    assert "no such policy" in cli("policy", "diff", "a" * 64, str(draft), code=1)
    gateway = cli("keys", "create", "gw", "--role", "gateway", "--service").split()[0]
    assert "may not read programme" in cli("policy", "diff", stored, str(draft), "--key", gateway, code=1)


# --- serve and ask ----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def running(cli, direct, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`mythos-gate serve` as a process of its own."""
    for kind, text in PROGRAMME.items():
        file = tmp_path / f"{kind}.csv"
        file.write_text(_dated(text))
        cli("import", kind, str(file))
    cli("policy", "activate", str(POLICIES))
    cli("import", "jurisdictions", str(POLICIES / "jurisdictions.csv"), "--reviewed-at", time.strftime("%Y-%m-%d"))
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MYTHOS_GATE_DIGEST_KEY", DIGEST_KEY)
    sequencing.make_keys(Settings())
    process = subprocess.Popen([sys.executable, "-m", "mythos_gate", "serve", "--port", url.rpartition(":")[2]])
    try:
        for _ in range(200):
            try:
                if httpx.get(f"{url}/health/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _dated(text: str) -> str:
    """Relative times are the demo's alone."""
    moments = {"now-90d": -90, "now+90d": 90, "now+1d": 1, "now-1h": -1 / 24}
    for relative, days in moments.items():
        text = text.replace(relative, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86_400)))
    return text


def test_the_service_is_asked_and_answers_for_a_terminal(cli, running, database):
    told = cli("ask", "acme/us", "--country", "US", "--endpoint", "ep-1", "--url", running)
    assert told.startswith("ALLOW  acme/us\nAccess is granted. (OK)")
    assert "recorded as" in told
    told = cli("ask", "acme/ca", "--country", "Iran", "--endpoint", "ep-1", "--url", running, code=3)
    assert "DENY" in told
    assert "LOCATION_EMBARGOED" in told
    assert "AGENT_SCOPE_EXCEEDED" not in cli(
        "ask", "acme/bot", "--agent", "--country", "US", "--endpoint", "ep-1", "--url", running
    )
    count = len([entry for entry in entries(database) if entry["type"] == "decision"])
    assert "dry run: nothing recorded" in cli(
        "ask", "acme/us", "--country", "US", "--endpoint", "ep-1", "--url", running, "--dry-run"
    )
    assert count == len([entry for entry in entries(database) if entry["type"] == "decision"]) == 3


def test_a_replay_finds_what_was_altered_and_is_logged(cli, running, database):
    auditor = ("--key", cli("keys", "create", "Au Ditor", "--role", "auditor").strip())
    for country, code in (("US", 0), ("Iran", 3)):
        cli("ask", "acme/us", "--country", country, "--endpoint", "ep-1", "--url", running, code=code)
    assert "may not read log" in cli("log", "replay", code=1)
    assert "2 decided again, 0 differ" in cli("log", "replay", *auditor)
    assert "0 decided again" in cli(
        "log", "replay", "--since", "2020-01-01", "--until", "2020-02-01T00:00:00Z", *auditor
    )
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("ALTER TABLE log_entries DISABLE TRIGGER append_only")
        ((altered,),) = owner.execute(
            "WITH altered AS (SELECT id, at, convert_to(replace(convert_from(body, 'UTF8'), '\"deny\"', '\"allow\"'), 'UTF8') AS body"
            " FROM log_entries WHERE type = 'decision' AND convert_from(body, 'UTF8') LIKE '%\"deny\"%')"
            " UPDATE log_entries e SET body = a.body, leaf = sha256('\\x00'::bytea || a.body) FROM altered a"
            " WHERE (e.id, e.at) = (a.id, a.at) RETURNING e.id"
        )
        owner.execute("ALTER TABLE log_entries ENABLE ALWAYS TRIGGER append_only")
    told = cli("log", "replay", *auditor, code=1)
    assert f"{altered} outcome: not as recorded\n2 decided again, 1 differ" in told
    logged = [entry for entry in entries(database) if entry["type"] == "replayed"]
    assert [(entry["since"], entry["until"], entry["decisions"], entry["differing"]) for entry in logged] == [
        (None, None, 2, 0),
        ("2020-01-01T00:00:00.000000Z", "2020-02-01T00:00:00.000000Z", 0, 0),
        (None, None, 2, 1),
    ]
    assert len({entry["actor"] for entry in logged}) == 1


def test_a_refused_key_and_a_silent_service_are_told(cli, running):
    assert "authentication needed" in cli("ask", "acme/us", "--url", running, "--key", "mgk_x", code=1)
    assert "does not answer" in cli("ask", "acme/us", "--url", f"http://127.0.0.1:{free_port()}", code=1)


def test_a_busy_port_is_told(cli, running):
    assert "is in use: choose another with --port" in cli("serve", "--port", running.rpartition(":")[2], code=1)


def test_serve_refuses_to_start_without_a_digest_key(cli):
    assert "no digest key" in cli("serve", code=1)


def test_production_refuses_an_owners_login(cli, monkeypatch):
    monkeypatch.setenv("MYTHOS_GATE_PRODUCTION", "1")
    assert "must not hold an owner's login" in cli("serve", code=1)


@pytest.mark.parametrize("given", [(), ("service", "reader"), ("service", "reader", "compliance", "database")], ids=str)
def test_production_takes_a_login_for_each_role_and_no_owners(given, monkeypatch, tmp_path):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    urls: dict[str, Any] = {f"{name}_url": f"postgresql://{name}@/gate" for name in given}
    with pytest.raises(Misconfigured, match="must not hold an owner's login"):
        db.role_urls(Settings(production=True, state=tmp_path, **urls))


def test_the_digest_key_is_made_once_for_its_owner_alone(tmp_path):
    chosen = Settings(state=tmp_path)
    make_digest_key(chosen)
    made = digest_key(chosen)
    make_digest_key(chosen)
    assert digest_key(chosen) == made
    assert (tmp_path / "digest.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Misconfigured, match="fewer than 32 bytes"):
        digest_key(Settings(digest_key="x" * 31))


@pytest.fixture
def logins(database):
    """A URL for each role whose login is a member of that role and no more."""
    made = {}
    with psycopg.connect(database, autocommit=True) as owner:
        for role in DbRole:
            login = f"login_{secrets.token_hex(6)}"
            owner.execute(f"CREATE ROLE {login} LOGIN IN ROLE {role}")
            made[role] = make_url(database).set(username=login).render_as_string(hide_password=False)
        yield made
        for url in made.values():
            owner.execute(f"DROP ROLE {make_url(url).username}")


def production(urls: dict[DbRole, str], state: Path) -> Settings:
    return Settings(
        production=True,
        service_url=urls[DbRole.SERVICE],
        reader_url=urls[DbRole.READER],
        compliance_url=urls[DbRole.COMPLIANCE],
        state=state,
        digest_key=DIGEST_KEY,
    )


def test_production_refuses_an_owners_login_for_the_sequencer_alone(database, tmp_path):
    chosen = production(dict.fromkeys(db.SERVING, "postgresql://nobody@127.0.0.1:1/none"), tmp_path)
    chosen.sequencer_url = database
    sequencing.make_keys(chosen)
    with pytest.raises(Misconfigured, match=f"the URL of {DbRole.SEQUENCER}"):
        sequencing.run(chosen)


@pytest.mark.parametrize("wrong", db.SERVING)
def test_production_refuses_an_owners_login_for_any_role(database, logins, tmp_path, wrong):
    chosen = production(logins | {wrong: database}, tmp_path)

    async def start() -> None:
        async with create(chosen).router.lifespan_context(FastAPI()):
            pass

    with pytest.raises(Misconfigured, match=f"the URL of {wrong}"):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MYTHOS_GATE_PORT", "secret", "a valid integer"),
        ("MYTHOS_GATE_DEADLINE", "-1", "greater than 0"),
        ("MYTHOS_GATE_ORIGIN", "two words", "no spaces"),
        ("MYTHOS_GATE_ORIGIN", "a+b", "no plus sign"),
        ("MYTHOS_GATE_ORIGIN", "", "is not empty"),
    ],
)
@pytest.mark.parametrize("command", [["serve"], ["demo"], ["keys", "list"], ["log", "add-key"]], ids=" ".join)
def test_a_wrong_setting_is_told_without_its_value(cli, monkeypatch, command, name, value, why):
    monkeypatch.setenv(name, value)
    told = cli(*command, code=1)
    assert name in told
    assert why in told
    assert "secret" not in told


def test_a_database_that_is_away_is_told(cli, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert "mythos-gate:" in cli("keys", "list", code=1)


def test_a_production_service_starts_with_a_login_for_each_role(logins, tmp_path):
    async def start() -> None:
        app = create(production(logins, tmp_path))
        async with app.router.lifespan_context(app):
            # The service's login may read all that a decision reads.
            with pytest.raises(NotDecided, match="no policy is active"):
                await app.state.gate.pdp.require_ready()

    asyncio.run(start())


def test_a_database_without_the_schema_is_told(server, cli, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", server)
    assert "run `mythos-gate db upgrade` first" in cli("keys", "list", code=1)


def test_a_key_for_nobody_is_refused(cli):
    assert "give its name" in cli("keys", "create", " ", "--role", "gateway", code=1)


def test_a_subject_with_brackets_is_shown_as_it_is(cli, running):
    assert "acme/[/x]" in cli("ask", "acme/[/x]", "--url", running, code=3)


# --- the log's keys ---------------------------------------------------------------------------------------------


@pytest.fixture
def state(cli, tmp_path: Path) -> Path:
    """The state folder after `db upgrade`, which makes the keys."""
    cli("db", "upgrade")
    return tmp_path


def log_keys(cli) -> dict[str, bool]:
    """Every verifier key, and whether it still signs."""
    return {line.removeprefix("# ").split()[0]: "until" not in line for line in cli("log", "keys").splitlines()}


def test_the_first_keys_are_made_once_for_their_owner_alone_and_announced(cli, state, database):
    files = [*(state / "log-keys").glob("*.pem"), state / "receipt.pem"]
    assert [each.stat().st_mode & 0o777 for each in files] == [0o600, 0o600]
    before = [each.read_bytes() for each in files], log_keys(cli)
    assert {key.partition("+")[0] for key in before[1]} == {"mythos-gate.local/log", "mythos-gate.local/log/receipt"}
    assert {entry["verifier"] for entry in entries(database) if entry["type"] == "log_key_added"} == before[1].keys()
    cli("db", "upgrade")
    assert before == ([each.read_bytes() for each in files], log_keys(cli))


def test_a_key_is_rotated_by_adding_one_and_retiring_the_other(cli, state, database):
    [old] = [key for key in log_keys(cli) if "/receipt+" not in key]
    new = cli("log", "add-key").strip()
    assert len(list((state / "log-keys").iterdir())) == 2
    assert all(log_keys(cli).values())
    assert f"{old} signs no more" in cli("log", "retire-key", old)
    [left] = (state / "log-keys").iterdir()
    assert keys.read(left, "mythos-gate.local/log").verifier.text == new
    assert {key: signs for key, signs in log_keys(cli).items() if "/receipt+" not in key} == {old: False, new: True}
    assert [line.startswith("#") for line in cli("log", "keys").splitlines() if old in line or new in line] == [
        True,
        False,
    ]
    told = [(entry["type"], entry["verifier"]) for entry in entries(database) if entry["type"].startswith("log_key_")]
    assert told[-2:] == [("log_key_added", new), ("log_key_retired", old)]


def test_a_key_that_only_the_database_names_is_nobodys_to_hand_over(cli, database, tmp_path):
    """Or whoever has the database could sign another log, and have the operator vouch for it."""
    theirs = keys.make(tmp_path / "theirs.pem", "mythos-gate.local/log").verifier.text
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("INSERT INTO log_keys (verifier) VALUES (%s)", [theirs])
    printed = cli("log", "keys")
    assert f"# {theirs}" in printed
    (tmp_path / "keys.txt").write_text(printed)
    assert theirs not in [key.text for key in log_commands._keys([str(tmp_path / "keys.txt")])]


def test_the_last_key_and_an_unknown_one_are_not_retired(cli, state):
    [last] = [key for key in log_keys(cli) if "/receipt+" not in key]
    assert "make another one first" in cli("log", "retire-key", last, code=1)
    assert "no such key" in cli("log", "retire-key", "mythos-gate.local/log+00000000+AAAA", code=1)
    assert len(list((state / "log-keys").iterdir())) == 1


def test_a_folder_of_keys_and_a_receipts_key_can_be_elsewhere(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("MYTHOS_GATE_LOG_KEYS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("MYTHOS_GATE_RECEIPT_KEY", str(tmp_path / "own" / "receipt.pem"))
    cli("db", "upgrade")
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    assert (tmp_path / "own" / "receipt.pem").is_file()
    assert not (tmp_path / "log-keys").exists()
    assert len(log_keys(cli)) == 2


def test_nobody_sequences_without_a_key_or_with_witnesses_that_cannot_be_meant(cli, tmp_path, monkeypatch):
    assert "no key signs the log" in cli("log", "sequence", code=1)
    cli("db", "upgrade")
    (tmp_path / "witnesses").write_text("w.example+12345678+AAAA http://w.example\n")
    monkeypatch.setenv("MYTHOS_GATE_WITNESSES", str(tmp_path / "witnesses"))
    for command in (["log", "sequence"], ["serve"], ["serve", "--no-sequencer"]):
        assert "line 1" in cli(*command, code=1)
