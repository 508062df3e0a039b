"""Rows for spreadsheets and data frames, events for a SIEM: each says what the entry says."""

import csv
import io
import json
from functools import cache

import jsonschema
import orjson
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from mythos_gate.audit import entry, ocsf, table
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.settings import root
from tests.audit.bundles import ONE, usual

HASH = bytes(32)


def body_of(**members):
    return entry.canonical(json.loads(usual(2).bodies[2]) | members)


def cells(*bodies):
    text = table.csv_head() + b"".join(table.csv_line(7, leaf_hash(body), body) for body in bodies)
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_a_row_says_what_a_decision_says():
    body = usual(2).bodies[2]
    [row] = cells(body)
    members = json.loads(body)
    told = {
        name: row[name] for name in ("index", "id", "at", "outcome", "reasons", "rows", "caller", "subject", "purpose")
    }
    assert told == {
        "index": "7", "id": members["id"], "at": members["at"], "outcome": "deny", "reasons": "R;S", "rows": "a;b",
        "caller": "cal_1", "subject": "per_1", "purpose": "digest:00",
    }  # fmt: skip
    assert (row["leaf"], row["model"], row["details"]) == (
        leaf_hash(body).hex(), "mythos-5", '{"context":"00","facts":{"subject":"person"},"request":null}',
    )  # fmt: skip


def test_a_change_says_the_rest_as_details():
    [row] = cells(usual(2).bodies[-1])
    assert (row["type"], row["actor"], json.loads(row["details"])) == (
        "person_suspended", "a", {"after": "suspended", "before": "active"} ,
    )  # fmt: skip
    assert row["person"] == "per_1"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\N{FULLWIDTH EQUALS SIGN}1"])
def test_no_cell_is_a_formula(text):
    [row] = cells(body_of(organization=text))
    assert row["organization"] == f"'{text}"


@pytest.mark.parametrize("text", ['a,b "c"\r\nd', "x=1", "", "é", "'=1"])
def test_every_other_text_comes_back_as_it_is(text):
    [row] = cells(body_of(organization=text))
    assert row["organization"] == text


def test_lines_end_as_rfc_4180_says_and_all_have_as_many_cells():
    text = table.csv_head() + b"".join(table.csv_line(at, HASH, body) for at, body in enumerate(usual(4).bodies))
    rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
    assert text.count(b"\r\n") == text.count(b"\n") == len(rows) == 10
    assert {len(row) for row in rows} == {len(table.NAMES)}


STRANGE = [
    b"{}", b'{"type":5,"at":"x","n":"y","rows":3,"caller":[],"subject":7,"policy":{"revision":"z"}}',
    b'{"type":"decision","at":"2026-01-01T00:00:00.000000Z","subject":{},"outcome":1,"n":1e300,"organization":[{}]}',
    b'{"n":99999999999999999999}',
]  # fmt: skip


@pytest.mark.parametrize("body", STRANGE)
def test_an_entry_that_the_gate_never_wrote_breaks_no_form(body):
    """Whoever has the service's login can write any object."""
    [row] = cells(body)
    assert row["leaf"] == leaf_hash(body).hex()
    event = ocsf.event(7, leaf_hash(body), body)
    assert (event["class_uid"], event["unmapped"]) == (0, orjson.loads(body))
    if table.has_parquet():
        file = table.Parquet()
        file.write_rows([table.row(7, leaf_hash(body), body)])
        file.finish()


def test_parquet_has_the_same_rows():
    parquet = pytest.importorskip("pyarrow.parquet")
    file, made = table.Parquet(), b""
    rows = [table.row(at, HASH, body) for at, body in enumerate(usual(4).bodies)]
    for start in range(0, len(rows), 4):
        file.write_rows(rows[start : start + 4])
        made += file.take()
    file.write_rows([])
    file.finish()
    made += file.take()
    read = parquet.ParquetFile(io.BytesIO(made))
    assert read.read().to_pylist() == rows
    assert read.num_row_groups == 3


# --- OCSF --------------------------------------------------------------------------------------------------------


@cache
def schema(class_uid):
    """The published one, as ocsf-json-schema has it."""
    made = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION))
    return made.get_class_schema(class_name=made.lookup_class_name_from_uid(class_uid=class_uid), profiles=[])


def event_of(body):
    made = json.loads(ocsf.line(7, leaf_hash(body), body))
    jsonschema.Draft202012Validator(schema(made["class_uid"])).validate(made)
    return made


def types_of_the_documents():
    """Every type of entry that docs/log.md names."""
    page = (
        (root() / "docs" / "log.md").read_text().partition("## Registry entries")[2].partition("## session_opened")[0]
    )
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return sorted(
        {name for row in rows for name in row.replace("`", "").replace(" ", "").split(",") if "…" not in name}
    )


def test_every_type_of_entry_is_an_event_of_the_schema():
    types = types_of_the_documents()
    assert len(types) > 40
    for kind in types:
        event_of(usual_change(kind))
        event_of(usual_change(kind, stop="stp_1"))
    for body in usual(4).bodies:
        event_of(body)


def usual_change(kind, **members):
    log = usual(2)
    log.add(kind, ONE, actor="cal_1", **members)
    return log.bodies[-1]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, (3003, 300301, 2, "deny", "R", 1)),
        ({"outcome": "allow", "reasons": []}, (3003, 300301, 1, "allow", None, 1)),
        ({"outcome": "allow_break_glass"}, (3003, 300301, 1, "allow_break_glass", "R", 3)),
        (
            {"subject": {"type": "person", "digest": "00"}, "action": {"capability": None}},
            (3003, 300301, 2, "deny", "R", 1),
        ),
    ],
)
def test_a_decision_authorizes_a_session(members, expected):
    made = event_of(body_of(**members))
    told = (
        made["class_uid"],
        made["type_uid"],
        made["status_id"],
        made["status"],
        made.get("status_code"),
        made["severity_id"],
    )
    assert told == expected


@pytest.mark.parametrize(
    ("kind", "class_uid", "activity"),
    [
        ("person_created", 3004, 1), ("person_changed", 3004, 3), ("key_revoked", 3004, 4), ("grant_suspended", 3004, 12),
        ("organization_activated", 3004, 10), ("log_read", 6003, 2), ("log_exported", 6003, 2),
    ],
)  # fmt: skip
def test_a_change_is_of_an_entity_and_a_read_of_an_api(kind, class_uid, activity):
    made = event_of(usual_change(kind, person="per_9"))
    assert (made["class_uid"], made["activity_id"], made["time"]) == (class_uid, activity, made["time"] // 1)
    assert made["unmapped"]["type"] == made["metadata"]["event_code"] == kind
