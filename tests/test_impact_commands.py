"""What the command line tells of a draft: of those on record, and of those who asked."""

import json
import stat
from hashlib import sha256

import orjson
import psycopg
import pytest
from sqlalchemy import update

from mythos_gate import tables
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import Settings
from mythos_gate.terminal import with_registry
from tests.analysis.test_impact import FILES
from tests.service import POLICIES
from tests.test_cli import cli, direct, entries, officer, running  # noqa: F401  fixtures

ROW = "no-agents,3,switches,deny,DENY,EMERGENCY_STOP,no,subject=agent\n"


@pytest.fixture
def draft(tmp_path):
    """A policy by which no agent is allowed."""
    folder = tmp_path / "draft"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text + (ROW if name == "access.csv" else ""))
    return folder


@pytest.fixture
def at_work(running):  # noqa: F811
    """All work in the United States: a standing request comes from there."""

    async def move(registry):
        async with registry.change("imported", "test") as change:
            await change.connection.execute(update(tables.people).values(work_country="US"))

    with_registry(Settings(), move)


def written(report):
    """The reports of a file, which are what their hashes name."""
    found = json.loads(report.read_text())
    for each in found:
        content = {name: each[name] for name in ("about", "figures", "apart")}
        assert each["report_sha256"] == sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    return found


def test_drafts_are_tried_on_everybody_on_record_and_it_is_logged(cli, at_work, draft, database, tmp_path):  # noqa: F811
    report = tmp_path / "report.json"
    told = cli("policy", "impact", str(draft), str(POLICIES), "--json", str(report))
    assert f"{draft}: 3 people, 1 agents" in told
    assert "agents: newly allowed 0, newly held 0, newly denied 1" in told
    assert "ALLOW -> EMERGENCY_STOP: 1" in told
    assert f"{POLICIES}: 3 people, 1 agents" in told
    first, second = written(report)
    assert (len(first["apart"]["newly_denied"]), second["apart"]["newly_denied"]) == (1, [])
    (logged,) = [entry for entry in entries(database) if entry["type"] == "policies_simulated"]
    policies = [Policy(read_files(folder)).sha256 for folder in (draft, POLICIES)]
    assert logged["drafts"] == [
        {"policy": policy, "data_set": None, "grants": [], "report_sha256": each["report_sha256"]}
        for policy, each in zip(policies, (first, second), strict=True)
    ]


def test_a_data_set_and_grants_are_drafts_as_well(cli, at_work, database, tmp_path):  # noqa: F811
    atlas = (POLICIES / "jurisdictions.csv").read_text()
    (canada,) = [line for line in atlas.splitlines() if line.startswith("CA,")]
    cells = canada.split(",")
    cells[7] = "D:5"
    moved = tmp_path / "moved.csv"
    moved.write_text(atlas.replace(canada, ",".join(cells)))
    assert "  people: newly allowed 0, newly held 0, newly denied 1" in cli(
        "policy", "impact", "--data-set", str(moved)
    )
    with psycopg.connect(database) as owner:
        grants = [row[0] for row in owner.execute("SELECT id FROM grants ORDER BY id")]
    told = cli("policy", "impact", "--grant", f"{grants[0]} agents=no", "--grant", f"{grants[1]} agents=no seat_cap=7")
    assert "agents: newly allowed 0, newly held 0, newly denied 1" in told
    told = cli("policy", "impact", *(each for grant in grants for each in ("--grant", f"{grant} versions=5.0;4.9")))
    assert "4 after" not in told
    logged = [entry["drafts"] for entry in entries(database) if entry["type"] == "policies_simulated"]
    assert [len(each) for each in logged] == [1, 1, 1]
    assert logged[0][0]["data_set"] is not None
    assert logged[1][0]["grants"] == grants


def test_what_is_no_draft_is_told(cli, running):  # noqa: F811
    assert "there is no draft" in cli("policy", "impact", code=1)
    assert "no such grant: grt_1" in cli("policy", "impact", "--grant", "grt_1 agents=no", code=1)
    assert "'organization' is none of agents," in cli("policy", "impact", "--grant", "grt_1 organization=x", code=1)
    assert "agents: 'perhaps' is neither yes nor no" in cli(
        "policy", "impact", "--grant", "grt_1 agents=perhaps", code=1
    )


def test_traffic_is_decided_again_and_it_is_logged(cli, running, draft, database, tmp_path):  # noqa: F811
    asked = ("--country", "US", "--endpoint", "ep-1", "--url", running)
    cli("ask", "acme/us", *asked)
    cli("ask", "acme/bot", "--agent", *asked)
    cli("ask", "acme/bot", "--agent", *asked)
    report = tmp_path / "report.json"
    told = cli("policy", "traffic", str(draft), "--json", str(report))
    assert f"{draft}: 2 of 3 decisions would have been others" in told
    assert "  of agent: 1" in told
    (found,) = written(report)
    assert [(each["type"], each["newly_denied"]["decisions"]) for each in found["apart"]["subjects"]] == [("agent", 2)]
    assert "0 of 0 decisions" in cli("policy", "traffic", str(draft), "--until", "2020-01-01")
    logged = [entry for entry in entries(database) if entry["type"] == "traffic_simulated"]
    assert [(each["decisions"], each["changed"], each["until"]) for each in logged] == [
        (3, 2, None),
        (0, 0, "2020-01-01T00:00:00.000000Z"),
    ]
    assert logged[0]["report_sha256"] == found["report_sha256"]


@pytest.mark.parametrize("what", ["impact", "traffic"])
def test_only_compliance_is_told(cli, running, draft, database, what):  # noqa: F811
    key = cli("keys", "create", "Au Ditor", "--role", "auditor").strip()
    before = len(entries(database))
    assert "may not run programme" in cli("policy", what, str(draft), "--key", key, code=1)
    assert len(entries(database)) == before
