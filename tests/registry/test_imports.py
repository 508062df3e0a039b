"""The import into a real Postgres: all or nothing, and what is as it was is not touched."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg.rows import dict_row

from mythos_gate import db
from mythos_gate.errors import GateError, Invalid
from mythos_gate.registry import imports, jurisdictions
from mythos_gate.registry.change import Change, Registry
from mythos_gate.registry.imports import Summary
from mythos_gate.registry.kind import InvalidFile
from mythos_gate.settings import root

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
JURISDICTIONS = (root() / "policies" / "jurisdictions.csv").read_bytes()
PROGRAMME = {
    "authorities": "authority,name,kind,organization_cap\norrery,Orrery,vendor,200\noffice,Office,government,\n",
    "models": "model,authority,name,versions,capabilities\nm-5,orrery,M 5,5.0;5.1,discovery;patch\n",
    "organizations": "organization,name,status,parent_country\nacme,Acme,active,US\nother,Other,active,Atlantis\n",
    "people": "organization,external_id,name,email,employment,us_person,us_basis,citizenships,approvals,requested_by\n"
    "acme,p-1,Jane Doe,jane@acme.example,employee,yes,citizen,,acme/a1;a1;other/a2,acme/r1\n"
    "acme,p-2,Juan Roe,juan@acme.example,employee,no,,CA@1991-01-01;Iran@..2001-01-01,a1,r1\n",
    "grants": "authority,reference,organization,model,status,not_before,versions,capabilities,purposes,listed_people,"
    "foreign_nationals,allowed_countries\n"
    "orrery,V-1,acme,m-5,active,2026-01-01,5.1,discovery,defence,p-2,listed,US;UK\n",
}
PEOPLE = PROGRAMME["people"].splitlines()[0] + "\n"
T = TypeVar("T")


class Office:
    """Imports into one database, each in a change of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def load(self, kind: str, data: str | bytes, *, relative: bool = False) -> Summary:
        content = data if isinstance(data, bytes) else data.encode()
        return self._change(lambda change: imports.load(change, kind, content, now=NOW, relative=relative))

    def load_data_set(self, data: bytes, version: str = "1") -> Summary:
        return self._change(lambda change: jurisdictions.load_data_set(change, data, version=version, reviewed_at=NOW))

    def refusal(self, kind: str, data: str) -> str:
        with pytest.raises(InvalidFile) as refused:
            self.load(kind, data)
        return str(refused.value)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("ALTER TABLE touched DISABLE TRIGGER stamped")
            connection.execute(statement)

    def _change(self, work: Callable[[Change], Coroutine[Any, Any, T]]) -> T:
        async def run() -> T:
            engine = db.engine(self.url, db.DbRole.COMPLIANCE)
            try:
                async with Registry(engine, "test.example/log").change("imported", "officer") as change:
                    return await work(change)
            finally:
                await engine.dispose()

        return asyncio.run(run())


@pytest.fixture
def empty(database: str) -> Office:
    return Office(database)


@pytest.fixture
def office(empty: Office) -> Office:
    for kind, data in PROGRAMME.items():
        empty.load(kind, data)
    return empty


def test_a_programme_can_be_imported(office: Office) -> None:
    [grant] = office.rows("SELECT * FROM grants JOIN seat_counts c ON c.grant_id = grants.id")
    assert grant["allowed_countries"] == ["US", "GB"]
    assert (grant["nationality_basis"], grant["used"], grant["contractors"]) == ("strict_any_current", 0, False)
    assert office.rows("SELECT external_id FROM grant_listed_people JOIN people ON id = person_id") == [
        {"external_id": "p-2"}
    ]
    assert [
        (row["country"], row["country_text"]) for row in office.rows("SELECT * FROM nationality_records ORDER BY 4")
    ] == [("CA", "CA"), ("IR", "Iran")]
    assert {"a1", "other/a2"} == {
        row["approver"]
        for row in office.rows("SELECT approver FROM approvals JOIN people ON id = person_id WHERE external_id = 'p-1'")
    }
    assert {"r1"} == {row["requested_by"] for row in office.rows("SELECT requested_by FROM people")}


@pytest.mark.parametrize("kind", list(PROGRAMME))
def test_the_same_file_again_changes_and_touches_nothing(office: Office, kind: str) -> None:
    touched = office.rows("SELECT count(*) FROM touched")
    summary = office.load(kind, PROGRAMME[kind])
    assert (0, 0, summary.rows, ()) == (summary.created, summary.updated, summary.unchanged, summary.ids)
    assert touched == office.rows("SELECT count(*) FROM touched")


def test_an_import_leaves_touched_keys_and_one_entry_in_the_log(office: Office) -> None:
    before = office.rows("SELECT max(n) AS n, count(*) FROM log_entries")[0]
    summary = office.load("people", PEOPLE + "acme,p-3,,,contractor,,,,,\n")
    after = office.rows("SELECT max(n) AS n, count(*) FROM log_entries")[0]
    assert after["count"] - before["count"] == 1
    [person] = summary.ids
    keys = {row["key"] for row in office.rows(f"SELECT key FROM touched WHERE n = {after['n']}")}
    [organization] = office.rows("SELECT id FROM organizations WHERE slug = 'acme'")
    assert {f"person:{person}", f"person-name:{organization['id']}/p-3"} == keys
    [entry] = office.rows(f"SELECT convert_from(body, 'UTF8')::jsonb AS body FROM log_entries WHERE n = {after['n']}")
    told = {"kind": "people", "rows": 1, "created": 1, "updated": 0, "unchanged": 0, "records": [person]}
    assert told == {key: entry["body"][key] for key in told}


def test_many_records_are_named_by_their_hash(office: Office) -> None:
    # A record of which the file names no more than its key is one all the same.
    summary = office.load("endpoints", "organization,external_id\n" + "".join(f"acme,e-{n}\n" for n in range(1001)))
    assert summary.created == 1001
    [entry] = office.rows("SELECT convert_from(body, 'UTF8')::jsonb AS body FROM log_entries ORDER BY n DESC LIMIT 1")
    assert "records" not in entry["body"]
    assert len(entry["body"]["records_sha256"]) == 64


def test_what_excel_saves_is_taken(office: Office) -> None:
    data = '\ufeffOrganization;External ID;Employment;Approvals;Work Country\r\nacme;p-9;Contractor;"a1;a2";Germany\r\n'
    assert office.load("people", data).created == 1
    [person] = office.rows("SELECT * FROM people WHERE external_id = 'p-9'")
    assert (
        person["work_country"],
        person["work_country_text"],
        person["employment"],
    ) == ("DE", "Germany", "contractor")


def test_one_bad_row_and_nothing_is_written(office: Office) -> None:
    before = office.rows("SELECT count(*) FROM people"), office.rows("SELECT n FROM revision")
    message = office.refusal("people", PEOPLE + "acme,p-8,,,employee,,,,,\nacme,p-9,,,boss,,,,,\n")
    assert (
        message
        == "people.csv line 3, column employment: 'boss' is not one of the values: use employee, contractor, ended"
    )
    assert before == (office.rows("SELECT count(*) FROM people"), office.rows("SELECT n FROM revision"))


def test_a_missing_column_leaves_what_is_stored_and_an_empty_cell_clears_it(office: Office) -> None:
    summary = office.load("people", "organization,external_id,name,employment\nacme,p-1,,contractor\n")
    assert (summary.created, summary.updated, summary.unchanged) == (0, 1, 0)
    [person] = office.rows("SELECT * FROM people JOIN export_assessments ON person_id = id WHERE external_id = 'p-1'")
    assert (
        person["name"],
        person["email"],
        person["employment"],
        person["us_person"],
    ) == (None, "jane@acme.example", "contractor", "yes")


def test_lists_are_replaced_only_if_their_column_is_there(office: Office) -> None:
    office.load("people", "organization,external_id,employment,permanent_residencies\nacme,p-2,employee,DE\n")
    records = "SELECT kind, country FROM nationality_records ORDER BY country"
    assert [row["country"] for row in office.rows(records)] == ["CA", "DE", "IR"]
    office.load("people", "organization,external_id,employment,citizenships,approvals\nacme,p-2,employee,,\n")
    assert office.rows(records) == [{"kind": "permanent_residency", "country": "DE"}]
    assert (
        office.rows("SELECT count(*) FROM approvals JOIN people ON id = person_id WHERE external_id = 'p-2'")[0][
            "count"
        ]
        == 0
    )


def test_an_empty_status_does_not_lift_a_suspension(office: Office) -> None:
    columns = "organization,external_id,employment,status\n"
    office.load("people", columns + "acme,p-1,employee,suspended\n")
    assert office.load("people", columns + "acme,p-1,employee,\n").unchanged == 1


@pytest.mark.parametrize(
    ("kind", "header", "row"),
    [
        ("agents", "organization,external_id,sponsor,status", "acme,a-1,p-1,{}"),
        ("endpoints", "organization,external_id,attested,status", "acme,e-1,yes,{}"),
    ],
)
def test_an_empty_status_does_not_lift_one_of_an_agent_or_endpoint(
    office: Office, kind: str, header: str, row: str
) -> None:
    left = "suspended" if kind == "agents" else "retired"
    office.load(kind, f"{header}\n{row.format(left)}\n")
    assert office.load(kind, f"{header}\n{row.format('')}\n").unchanged == 1


def test_a_reason_does_not_outlive_its_status(office: Office) -> None:
    office.execute("UPDATE people SET status = 'suspended', status_reason = 'found out' WHERE external_id = 'p-1'")
    office.execute("UPDATE touched SET n = 0 WHERE n IS NULL")
    office.load("people", "organization,external_id,employment,status\nacme,p-1,employee,active\n")
    assert office.rows("SELECT DISTINCT status_reason FROM people") == [{"status_reason": None}]


@pytest.mark.parametrize("state", ["unique_violation", "disk_full"])
def test_an_error_of_the_database_shows_nothing_of_the_file(office: Office, state: str) -> None:
    office.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE {state}; END';"
        "CREATE TRIGGER refuse BEFORE INSERT ON nationality_records FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    data = PEOPLE + "acme,p-9,Jane Doe,,employee,no,,France@1999-09-09,,\n"
    with pytest.raises(GateError) as refused:
        office.load("people", data)
    told = "".join(traceback.format_exception(refused.value))
    assert not [word for word in ("Jane", "France", "1999-09-09") if word in told]


def test_two_imports_of_one_file_at_once_make_its_records_once(office: Office) -> None:
    data = PEOPLE + "".join(f"acme,new-{number},,,employee,,,,,\n" for number in range(50))
    with ThreadPoolExecutor() as pool:
        summaries = list(pool.map(lambda _: office.load("people", data), range(2)))
    assert sorted((summary.created, summary.unchanged) for summary in summaries) == [(0, 50), (50, 0)]


def test_every_record_of_a_large_file_is_written(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    assert (
        office.load("endpoints", "organization,external_id\n" + "".join(f"acme,e-{n}\n" for n in range(5))).created == 5
    )
    assert office.rows("SELECT count(*) FROM endpoints") == [{"count": 5}]


@pytest.mark.parametrize(
    "cells",
    [
        "Jane Doe,jane,employee,no,,CA,,",
        "Jane Doe,,employee,maybe,,CA,,",
        "Jane Doe,,employee,no,citoyenne,CA,,",
        "Jane Doe,,employee,no,,CA@Tuesday,,",
        "Jane Doe,,employee,yes,citizen,CA,,",
        "Jane\tDoe,,employee,no,,CA,,",
    ],
    ids=["e-mail", "status", "basis", "date", "records of a US person", "name"],
)
def test_neither_nationality_nor_name_is_ever_shown(office: Office, cells: str) -> None:
    message = office.refusal("people", PEOPLE + f"acme,p-9,{cells}\n")
    assert message.startswith("people.csv line 2, column ")
    assert not [word for word in ("Jane", "jane", "maybe", "citoyenne", "CA", "Tuesday", "'") if word in message]


def test_a_us_person_keeps_no_nationality_records_whatever_the_file_leaves_out(office: Office) -> None:
    message = office.refusal("people", "organization,external_id,employment,us_person\nacme,p-2,employee,yes\n")
    assert (
        message
        == "people.csv line 2, column us_person: nationality records are kept only for people who are not US persons:"
        " empty citizenships and permanent_residencies, or correct us_person"
    )


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (
            "people",
            "organization,external_id,employment\nnobody,p-1,employee\n",
            "line 2, column organization: 'nobody' is no organization on record: import organizations first",
        ),
        (
            "agents",
            "organization,external_id,sponsor\nother,a-1,p-1\n",
            "line 2, column sponsor: 'other/p-1' is no person on record: import people first",
        ),
        (
            "grants",
            PROGRAMME["grants"].replace(",acme,", ",other,").replace("p-2", ""),
            "line 2, column organization: 'other' is not what this grant was issued for: give the new instrument",
        ),
        (
            "grants",
            PROGRAMME["grants"]
            .replace("not_before", "not_before,not_after")
            .replace("2026-01-01", "2026-01-01,2026-01-01"),
            "line 2, column not_after: '2026-01-01' is not after not_before: correct one of the two",
        ),
        (
            "grants",
            PROGRAMME["grants"].replace("5.1", "5.1.0"),
            "line 2, column versions: '5.1.0' is no major.minor version: use 5.1, which names every 5.1.x",
        ),
        (
            "people",
            "organization,external_id,employment,requested_by\nacme,p-1,employee,per_7\n",
            "line 2, column requested_by: 'per_7' is an id of the gate's own: give the external id",
        ),
        ("stops", "scope,target\nperson,acme/p-1\n", "line 2, column incident: must not be empty"),
        ("stops", "scope,target\neverything,orrery\n", "line 2, column target: 'orrery' must be empty"),
        (
            "directives",
            "authority,reference,model,versions,applies_to,from,until\noffice,D-1,m-5,5.1,all,2026-02-01,2026-01-01\n",
            "line 2, column until: '2026-01-01' is not after from",
        ),
        (
            "break_glass",
            "organization,incident,opened_by,approvers,opened,expires\nacme,I-1,o,a;b,2026-01-02,2026-01-01\n",
            "line 2, column expires: '2026-01-01' is not after opened",
        ),
    ],
)
def test_what_contradicts_the_records_is_refused(office: Office, kind: str, data: str, message: str) -> None:
    assert office.refusal(kind, data).startswith(f"{kind}.csv {message}")


def test_a_list_of_people_or_organizations_is_replaced_as_a_whole(office: Office) -> None:
    office.load("grants", PROGRAMME["grants"].replace("p-2", "p-1"))
    assert office.rows("SELECT external_id FROM grant_listed_people JOIN people ON id = person_id") == [
        {"external_id": "p-1"}
    ]
    order = "authority,reference,model,versions,applies_to,from,exempt_organizations\noffice,D-1,m-5,5.1,all,2026-01-01,{}\n"
    for exempt in ("acme", "other"):
        office.load("directives", order.format(exempt))
    assert office.rows("SELECT slug FROM directive_exemptions JOIN organizations ON id = organization_id") == [
        {"slug": "other"}
    ]


def test_an_unknown_kind_names_the_kinds(empty: Office) -> None:
    with pytest.raises(Invalid, match="use one of authorities, models"):
        empty.load("humans", "")


def test_ownership_is_replaced_as_a_whole(office: Office) -> None:
    header = "organization,owner,percent,blocked\n"
    first = office.load("ownerships", header + "acme,A,60,no\nacme,B,40,yes\nother,C,100,no\n")
    assert (first.created, first.updated, first.unchanged) == (2, 0, 0)
    again = office.load("ownerships", header + "acme,A,60.0,no\nother,C,100,no\n")
    assert (again.created, again.updated, again.unchanged) == (0, 1, 1)
    assert [row["owner"] for row in office.rows("SELECT owner FROM ownerships ORDER BY owner")] == ["A", "C"]


def test_a_grant_keeps_its_model(office: Office) -> None:
    office.load("models", PROGRAMME["models"].replace("m-5,", "m-6,"))
    message = office.refusal("grants", PROGRAMME["grants"].replace(",m-5,", ",m-6,"))
    assert message.startswith("grants.csv line 2, column model: 'm-6' is not what this grant was issued for")


@pytest.mark.parametrize("left", ["status=suspended", "employment=ended"])
def test_whoever_leaves_loses_the_seats(office: Office, left: str) -> None:
    office.execute(
        "INSERT INTO seats (grant_id, person_id, organization_id) SELECT g.id, p.id, p.organization_id FROM grants g, people p;"
        "UPDATE seat_counts SET used = 2; UPDATE touched SET n = 0 WHERE n IS NULL"
    )
    column, value = left.split("=")
    employment = value if column == "employment" else "employee"
    status = value if column == "status" else "active"
    office.load("people", f"organization,external_id,employment,status\nacme,p-1,{employment},{status}\n")
    assert office.rows("SELECT used FROM seat_counts") == [{"used": 1}]
    assert office.rows("SELECT external_id FROM seats JOIN people ON id = person_id") == [{"external_id": "p-2"}]


def test_a_screening_without_a_person_is_the_organizations(office: Office) -> None:
    header = "organization,person,status,screened_at\n"
    assert office.load("screenings", header + "acme,,clear,now-1h\nacme,p-1,pending,\n", relative=True).created == 2
    [screening] = office.rows("SELECT status, screened_at FROM organization_screenings")
    assert {"status": "clear", "screened_at": NOW - timedelta(hours=1)} == screening
    assert office.rows("SELECT status FROM person_screenings") == [{"status": "pending"}]


def test_what_somebody_changes_while_a_file_is_taken_stays(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspension between what an import reads and what it writes, while the file suspends somebody else."""
    real = imports.Plan.write

    async def suspended_first(self: Any, connection: Any) -> AsyncIterator[int]:
        if self.part.table.name == "people":
            office.execute("UPDATE people SET status = 'suspended' WHERE external_id = 'p-1'")
        async for count in real(self, connection):
            yield count

    monkeypatch.setattr(imports.Plan, "write", suspended_first)
    office.load(
        "people",
        "organization,external_id,name,employment,status\nacme,p-1,New Name,employee,\nacme,p-2,,employee,suspended\n",
    )
    assert office.rows("SELECT external_id, status FROM people ORDER BY 1") == [
        {"external_id": "p-1", "status": "suspended"},
        {"external_id": "p-2", "status": "suspended"},
    ]


def test_a_stop_is_made_once_lifted_and_made_anew(office: Office) -> None:
    standing = "scope,target,incident,lifted\nperson,acme/p-1,I-1,no\neverything,,,no\n"
    assert office.load("stops", standing).created == 2
    assert office.load("stops", standing).unchanged == 2
    lifted = standing.replace(",no", ",yes")
    assert office.load("stops", lifted).updated == 2
    assert office.load("stops", lifted).unchanged == 2
    assert office.load("stops", "scope,target,incident\nperson,acme/p-1,I-1\neverything,,\n").created == 2
    assert office.rows("SELECT count(*) FROM stops WHERE lifted_at IS NULL")[0]["count"] == 2


def test_break_glass_names_people_by_their_ids(office: Office) -> None:
    header = "organization,incident,people,opened_by,approvers,opened,expires\n"
    rows = "acme,I-1,p-1,acme/o-1,o-2;acme/o-3,now,now+2h\nacme,I-2,,o-1,o-2;o-3,now,now+2h\n"
    assert office.load("break_glass", header + rows, relative=True).created == 2
    first, second = office.rows("SELECT * FROM break_glasses ORDER BY incident")
    assert [row["id"] for row in office.rows("SELECT id FROM people WHERE external_id = 'p-1'")] == first["people"]
    assert (first["opened_by"], first["approvers"], second["people"]) == ("o-1", ["o-2", "o-3"], None)


# --- jurisdictions --------------------------------------------------------------------------------------------


def test_a_data_set_is_named_by_its_content_and_put_in_force(empty: Office) -> None:
    first = empty.load_data_set(JURISDICTIONS)
    assert first.created == 1
    header, *rows = JURISDICTIONS.decode().splitlines(keepends=True)
    turned = (header + "".join(reversed(rows))).encode()
    assert empty.load_data_set(turned).unchanged == 1
    assert empty.load_data_set(JURISDICTIONS, version="2").updated == 1
    assert [{"id": first.ids[0], "version": "2"}] == empty.rows(
        "SELECT id, version FROM data_sets JOIN programme ON data_set_id = id"
    )
    assert first.rows == empty.rows("SELECT count(*) FROM jurisdictions")[0]["count"]
    assert empty.load_data_set(JURISDICTIONS.replace(b"Canada", b"Kanada")).created == 1
    assert [{"id": first.ids[0]}] != empty.rows("SELECT data_set_id AS id FROM programme")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CU,CUB", "ZZ,CUB", "jurisdictions.csv column code: no row for CU: add it"),
        (",inherits,GB,", ",inherits,ZZ,", "column inherits: 'ZZ' is no row of this file: add its row"),
        (",inherits,GB,", ",inherits,HK,", "column inherits: 'HK' has no groups of its own"),
        (",inherits,GB,", ",listed,GB,", "column inherits: 'GB' does not fit the treatment"),
    ],
)
def test_a_data_set_that_cannot_be_right_is_refused(empty: Office, old: str, new: str, message: str) -> None:
    assert old in JURISDICTIONS.decode()
    with pytest.raises(InvalidFile) as refused:
        empty.load_data_set(JURISDICTIONS.decode().replace(old, new, 1).encode())
    assert message in str(refused.value)


@pytest.mark.anyio
async def test_a_change_of_nationality_is_committed_to_and_can_be_opened(service):
    await service.load(
        people="organization,external_id,employment,us_person,citizenships\nacme,ca,employee,no,FR@1999-09-09\n"
    )
    entry = (await service.entries())[-1]["body"]
    ((person, salt, commitment),) = service.sql(
        "SELECT person_id, salt, commitment FROM nationality_commitments WHERE commitment = decode(%s, 'hex')",
        entry["nationality"][0]["commitment"],
    )
    assert [{"person": person, "commitment": commitment.hex()}] == entry["nationality"]
    ((now,),) = service.sql("SELECT export_assessment(%s)::text", person)
    assert sha256(salt + now.encode()).digest() == commitment
    await service.load(people="organization,external_id,employment,name\nacme,ca,employee,Somebody\n")
    assert "nationality" not in (await service.entries())[-1]["body"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "columns",
    ["us_person,citizenships\nacme,ca,employee,no,", "us_person,us_basis,citizenships\nacme,ca,employee,yes,citizen,"],
    ids=["a record that goes", "another status"],
)
async def test_every_change_of_nationality_is_committed_to(service, columns):
    await service.load(people=f"organization,external_id,employment,{columns}\n")
    assert len((await service.entries())[-1]["body"]["nationality"]) == 1


@pytest.mark.anyio
async def test_an_assessment_alone_is_committed_to_under_a_salt_of_its_own(service):
    for basis in ("protected_individual", "lpr", "protected_individual"):
        await service.load(
            people=f"organization,external_id,employment,us_person,us_basis\nacme,us,employee,yes,{basis}\n"
        )
    made = [entry["body"]["nationality"][0]["commitment"] for entry in (await service.entries())[-3:]]
    assert len(set(made)) == 3


@pytest.mark.anyio
async def test_many_changes_of_nationality_are_committed_to_by_one_hash(service):
    rows = "".join(f"acme,many-{number},employee,no,FR\n" for number in range(101))
    await service.load(people=f"organization,external_id,employment,us_person,citizenships\n{rows}")
    made = service.sql(
        "SELECT person_id, encode(commitment, 'hex') FROM nationality_commitments JOIN people ON id = person_id"
        " WHERE external_id ~ '^many-' ORDER BY 1, 2"
    )
    listed = "\n".join(f"{person} {commitment}" for person, commitment in made)
    entry = (await service.entries())[-1]["body"]
    assert len(made) == 101
    assert (entry["nationality_sha256"], "nationality" in entry) == (sha256(listed.encode()).hexdigest(), False)
