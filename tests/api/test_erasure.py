"""Erasure: refused while records must be kept; then nothing names the person, and what was proven stays proven."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from mythos_gate import tables
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.errors import Conflict
from mythos_gate.registry import callers, seats
from mythos_gate.registry.kind import InvalidFile
from mythos_gate.terms import RETENTION, Role
from tests.api import test_files
from tests.api.test_resources import NEW, Rest, officer, second  # noqa: F401  fixtures
from tests.audit.test_tampering import auditor  # noqa: F401  a fixture
from tests.service import Service, question

pytestmark = [pytest.mark.anyio, pytest.mark.verified]
PATH = "people/acme/zebulon"
YEAR = timedelta(days=366)
# Whatever the person is called where; each would be recognised wherever it stood.
MARKS = ("zebulon", "marksson", "secret.example", "utopia", "1977-07-07", "course-77")
PERSON = {
    "external_id": "zebulon", "employment": "employee", "name": "Zebulon Marksson", "email": "z@secret.example",
    "work_country": "DE", "obligations_evidence": "course-77", "training_expires": "2030-01-01T00:00:00Z",
}  # fmt: skip
BASIS = "ten years from the last decision or change (31 CFR 501.601; 15 CFR 762.6 asks five)"
HELD = {"country": "Utopia", "acquired": "1977-07-07"}


@asynccontextmanager
async def later(service, tmp_path, displacement):
    """The same records, read by another process after so long."""
    async with Service.running(service.database, tmp_path / "later", displacement) as there:
        there.keys = service.keys
        yield there


def aged(service, but=""):
    """Everything on record becomes eleven years older, but for one table's."""
    for name, table in tables.history.items():
        if name != but:
            older = ", ".join(f"{end}(valid) - interval '11 years'" for end in ("lower", "upper"))
            service.sql(f"UPDATE {table.name} SET valid = tstzrange({older})")


def found(service):
    """Every place in the whole database that names the person: (table, mark)."""
    with psycopg.connect(service.database) as owner:
        names = owner.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        listed = [name for (name,) in names]
        assert len(listed) > 50
        places = []
        for name in listed:
            row = "convert_from(body, 'UTF8')" if name.startswith("log_entries_") else "t::text"
            for mark in MARKS:
                query = f"SELECT count(*) FROM {name} t WHERE {row} ILIKE '%{mark}%'"
                places += [(name, mark)] if owner.execute(query).fetchone() != (0,) else []
        return sorted(places)


def lines(service):
    return service.sql("SELECT writer, n, at, leaf, body FROM log_entries ORDER BY writer, n")


async def erased(service, one, two, path=PATH):
    made = await one("POST", f"{path}/erasure")
    assert (made.status_code, made.json()["state"]) == (202, "requested"), made.text
    done = await two.approve(made.json()["id"])
    assert done.status_code == 200, done.text
    return done.json()["reference"]


@pytest.fixture
async def known(service, officer, second):  # noqa: F811
    """A person whom everything names that can: records, those of others, change_requests, a key, an agent."""
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    made = await admin("POST", "people", PERSON)
    assert made.status_code == 201, made.text
    provided = {"op": "replace", "value": {"userName": "z@secret.example", "name": {"familyName": "Marksson"}}}
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [provided]}
    key = await service.key(Role.SCIM, organization="acme")
    answer = await service.client.patch(f"/scim/v2/Users/{made.json()['id']}", json=patch, headers=key)
    assert answer.status_code == 200, answer.text
    assessed = {"us_person": "no", "citizenships": [HELD], "evidence_expires": "2030-01-01T00:00:00Z"}
    for rest in (officer, second):
        proposed = await rest("PUT", f"{PATH}/assessment", assessed, **{"If-Match": "*"})
        if rest is officer:
            assert (await second.approve(proposed.json()["id"])).status_code == 200
    await service.load(
        agents="organization,external_id,name,sponsor,scopes\nacme,zebulon-bot,Agent of Zebulon,zebulon,x\n",
        people="organization,external_id,employment,approvals,requested_by\nacme,us,employee,zebulon;a2,zebulon\n"
        "other,them,employee,acme/zebulon,acme/zebulon\n",
        break_glass="organization,incident,opened_by,approvers,opened,expires\nacme,I-1,zebulon,a1;a2,now-2h,now-1h\n"
        "other,I-1,acme/zebulon,a1;a2,now-2h,now-1h\nacme,I-2,o,a1;zebulon,now-2h,now-1h\n",
        screenings="organization,person,status,list_version\nacme,zebulon,pending,course-77\n",
    )
    grant = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")[0][0]
    adjudged = {"organization": "acme", "person": "zebulon", "status": "false_positive"}
    listed = {"listed_people": ["us", "zebulon"]}
    for method, path, members in (
        ("POST", "screenings/adjudicate", adjudged),
        ("PATCH", f"grants/{grant}", listed),
        ("POST", "grants", NEW["grants"] | listed | {"organization": "acme", "reference": "V-7", "status": "active"}),
        ("POST", "break-glass", {"organization": "acme", "incident": "I-9", "people": ["us", "zebulon"], "hours": 1}),
        ("POST", f"{PATH}/suspend", {"reason": "as Zebulon asked"}),
        ("POST", f"{PATH}/activate", None),
        ("POST", "keys", {"name": "Zebulon Marksson II", "roles": ["auditor"], "person": "acme/zebulon"}),
    ):
        answer = await officer(method, path, members, **{"If-Match": "*"})
        assert answer.status_code in {200, 202}, answer.text
    await test_files.asked(
        service,
        officer,
        {"people": "organization,external_id,employment,email\nacme,zebulon,employee,z@secret.example\n"},
    )
    async with service.gate.registry.change("key_created", "test") as change:
        scope = callers.Scope(person="acme/zebulon")
        await callers.create_key(change, "Zebulon Marksson", [Role.AUDITOR], service=False, scope=scope)
    service.forget()
    return made.json()["id"]


# --- when -------------------------------------------------------------------------------------------------------


async def test_two_years_after_the_last_access_the_records_are_kept_and_the_basis_is_told(service, known, tmp_path):
    """Case A05."""
    assert (await service.ask(question("acme/zebulon"))).status_code == 200
    async with later(service, tmp_path, 2 * YEAR) as after:
        one = Rest(after, await service.key(Role.COMPLIANCE))
        before = lines(service)
        told = await one("POST", f"{PATH}/erasure")
        assert (told.status_code, told.headers["content-type"]) == (409, "application/problem+json")
        until = (service.now + RETENTION).date().isoformat()
        assert (told.json()["code"], told.json()["detail"]) == (
            "RETENTION_HOLD",
            f"the records of this person are kept until {until}: {BASIS}",
        )
        assert lines(service) == before
        assert (await one("GET", PATH)).json()["name"] == "Zebulon Marksson"


@pytest.mark.parametrize("asked", ["acme/zebulon", "acme/zebulon-bot"])
async def test_ten_years_count_from_the_last_decision_about_the_person_or_an_agent(service, known, officer, asked):  # noqa: F811
    aged(service)
    for other in (question(), question("acme/nobody"), question("acme/bot", kind="agent")):
        await service.ask(other)  # about others
    trial = await officer("POST", f"{PATH}/erasure")
    assert trial.status_code == 202
    await service.ask(question(asked, kind="agent" if "bot" in asked else "person"))
    told = await officer("POST", f"{PATH}/erasure")
    assert (told.status_code, told.json()["code"]) == (409, "RETENTION_HOLD")


@pytest.mark.parametrize(
    "table", ["people", "approvals", "person_screenings", "export_assessments", "nationality_records", "agents"]
)
async def test_ten_years_count_from_the_last_change_of_anything_on_record(service, known, officer, table):  # noqa: F811
    service.sql("INSERT INTO approvals_history VALUES (%s, 'a1', tstzrange(now() - interval '1 day', now()))", known)
    aged(service, but=table)
    told = await officer("POST", f"{PATH}/erasure")
    assert (told.status_code, told.json().get("code")) == (409, "RETENTION_HOLD")


async def test_what_came_between_proposal_and_confirmation_is_seen(service, known, officer, second):  # noqa: F811
    aged(service)
    made = (await officer("POST", f"{PATH}/erasure")).json()["id"]
    await service.ask(question("acme/zebulon"))
    told = await second.approve(made)
    assert (told.status_code, told.json()["code"]) == (409, "RETENTION_HOLD")
    assert (await second("GET", PATH)).json()["name"] == "Zebulon Marksson"


def test_ten_years_are_never_less():
    for year in range(2020, 2030):
        start = datetime(year, 3, 1, tzinfo=UTC)
        assert timedelta() <= start + RETENTION - start.replace(year=year + 10) <= timedelta(days=1)


# --- what -------------------------------------------------------------------------------------------------------


async def test_nothing_in_the_whole_database_names_who_was_erased_and_the_log_is_untouched(
    service, known, officer, second, tmp_path  # noqa: F811
):  # fmt: skip
    assert (await service.ask(question("acme/zebulon"))).json()["context"]["reason_admin"]["facts"][
        "subject"
    ] == "person"
    await service.ask(question("acme/zebulon-bot", kind="agent"))
    places = {table for table, _ in found(service)}
    assert places >= {
        "people", "people_history", "approvals", "approvals_history", "agents", "agents_history", "break_glasses",
        "break_glasses_history", "callers", "callers_history", "nationality_records", "nationality_records_history",
        "change_request_contents", "change_requests", "person_screenings", "person_screenings_history", "touched",
    }  # fmt: skip
    assert not any(table.startswith("log_entries") for table in places)
    kept = "SELECT r.action FROM change_requests r JOIN change_request_contents ON id = change_request_id ORDER BY 1"
    assert service.sql(kept) == [("create",), ("import",), ("replace",)]
    before = lines(service)
    commitments = service.sql("SELECT count(*) FROM nationality_commitments WHERE person_id = %s", known)
    assert commitments != [(0,)]
    async with later(service, tmp_path, RETENTION + YEAR) as after:
        one, two = Rest(after, officer.headers), Rest(after, second.headers)
        assert await erased(after, one, two) == known
    assert found(service) == []
    for table in ("nationality_records", "export_assessments", "person_screenings"):
        for each in (table, f"{table}_history"):
            assert service.sql(f"SELECT count(*) FROM {each} WHERE person_id = %s", known) == [(0,)], each
    assert service.sql("SELECT count(*) FROM nationality_commitments WHERE person_id = %s", known) == [(0,)]
    after_it = lines(service)
    assert [line for line in after_it if line[:2] in {each[:2] for each in before}] == before
    assert all(leaf == leaf_hash(body) for *_, leaf, body in after_it)
    [entry] = [item["body"] for item in await service.entries() if item["body"]["type"] == "person_erased"]
    assert (entry["person"], entry["actor"] != entry["requested_by"]) == (known, True)
    shown = (await officer("GET", f"people/{known}")).json()
    assert {name: value for name, value in shown.items() if value not in (None, False, [])} == {
        "id": known, "organization": "acme", "external_id": known, "status": "erased", "employment": "ended",
    }  # fmt: skip
    # This process had them in memory, and another erased them.
    for asked, kind in (("acme/zebulon", "person"), ("acme/zebulon-bot", "agent")):
        told = (await service.ask(question(asked, kind=kind))).json()["context"]["reason_admin"]
        assert told["codes"] == ["SUBJECT_UNKNOWN"]


async def test_whoever_kept_a_checkpoint_of_before_finds_the_log_whole(service, known, officer, second, auditor):  # noqa: F811
    aged(service)
    await erased(service, officer, second)
    await service.sequence()
    report = await auditor.verify()
    assert (report.exit_code, report.findings, report.denied) == (0, [], [])
    assert report.leaves > auditor.last
    assert f"the log continues your checkpoint of {auditor.size} entries" in report.checked


async def test_for_others_the_gates_id_stands_for_who_was_erased(service, known, officer, second):  # noqa: F811
    await service.load(
        people="organization,external_id,employment,approvals\nother,them,employee,acme/zebulon;zebulon\n",
        break_glass="organization,incident,opened_by,approvers,opened,expires\nother,I-1,acme/zebulon,a1;zebulon,now-2h,now-1h\n",
    )
    aged(service)
    await erased(service, officer, second)
    shown = {name: (await officer("GET", f"people/{name}")).json() for name in ("acme/us", "other/them")}
    assert {name: (set(each["approvals"]), each["requested_by"]) for name, each in shown.items()} == {
        "acme/us": ({known, "a2"}, known),
        # Their bare name is somebody else's in another organization.
        "other/them": ({known, "zebulon"}, known),
    }
    glasses = {
        (each["organization"], each["incident"]): each for each in (await officer("GET", "break-glass")).json()["items"]
    }
    assert {place: (each["opened_by"], each["approvers"]) for place, each in glasses.items()} == {
        ("acme", "I-1"): (known, ["a1", "a2"]),
        ("other", "I-1"): (known, ["a1", "zebulon"]),
        ("acme", "I-2"): ("o", ["a1", known]),
    }
    items = (await officer("GET", "change-requests")).json()["items"]
    assert [each["members"]["listed_people"] for each in items if "listed_people" in each["members"]] == [
        ["us", known]
    ] * 2
    assert [each["members"]["person"] for each in items if each["resource"] == "screenings"] == [known]
    assert [each["members"]["people"] for each in items if each["resource"] == "break_glasses"] == [["us", known]]


async def test_who_gave_an_approval_under_both_names_gave_one(service, known, officer, second):  # noqa: F811
    async with service.gate.registry.change("test", "test") as change:
        both = text("INSERT INTO approvals SELECT id, :known FROM people WHERE external_id = 'them'")
        await change.connection.execute(both, {"known": known})
    aged(service)
    await erased(service, officer, second)
    assert set((await officer("GET", "people/other/them")).json()["approvals"]) == {known}


# --- for good ---------------------------------------------------------------------------------------------------


async def test_who_was_erased_is_allowed_nothing_and_comes_back_by_nothing(service, known, officer, second):  # noqa: F811
    aged(service)
    await erased(service, officer, second)

    async def facts(subject, **changes):
        return (await service.ask(question(subject, **changes))).json()["context"]["reason_admin"]["facts"]

    assert (await facts("acme/zebulon"))["subject"] == "unknown"
    assert (await facts("acme/zebulon-bot", kind="agent"))["subject"] == "unknown"
    assert (await facts(known))["person"] == "suspended"
    record = f"people/{known}"
    for method, path, members in (
        ("POST", "activate", None),
        ("POST", "suspend", None),
        ("POST", "revoke", None),
        ("POST", "approve", None),
        ("POST", "review", {"due": "2050-01-01T00:00:00Z"}),
        ("POST", "release-seats", None),
        ("POST", "erasure", None),
        ("POST", "assessment/withdraw", None),
        ("PATCH", "", {"name": "Zebulon Marksson"}),
    ):
        answer = await officer(method, f"{record}/{path}".rstrip("/"), members, **{"If-Match": "*"})
        assert (path, answer.status_code) == (path, 409), answer.text
    assessed = {"us_person": "yes", "us_basis": "citizen"}
    assert (await officer("PUT", f"{record}/assessment", assessed, **{"If-Match": "*"})).status_code == 400
    with psycopg.connect(service.database) as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute("UPDATE people SET status = 'active', employment = 'employee' WHERE id = %s", [known])
    assert found(service) == []


async def test_no_list_brings_back_who_was_erased(service, known, officer, second):  # noqa: F811
    aged(service)
    await erased(service, officer, second)
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    text = "external_id,employment\nfresh,employee\nzebulon,employee\n"
    headers = admin.headers | {"Content-Type": "text/csv"}
    refused = await service.client.post("/v1/people/import", content=text, headers=headers)
    assert (refused.status_code, [(each["line"], each["what"]) for each in refused.json()["errors"]]) == (
        400,
        [(3, "is the name of somebody who was erased")],
    )
    assert (await admin("POST", "people", PERSON)).status_code == 400
    assert (await officer("POST", "people", {"organization": "acme", **PERSON})).status_code == 400
    with pytest.raises(InvalidFile, match="line 2, column external_id: 'zebulon' is the name of somebody"):
        await service.load(people="organization,external_id,employment\nacme,zebulon,employee\n")
    assert found(service) == []
    # An old list may go on naming them as an approver; elsewhere the name is somebody else's.
    await service.load(
        people="organization,external_id,employment,approvals,requested_by\nacme,us,employee,zebulon;a2,zebulon\n"
        "other,them,employee,acme/zebulon;b2,acme/zebulon\nother,zebulon,employee,b1,\n"
    )
    assert (await officer("GET", "people/acme/us")).json()["approvals"] == sorted(["a2", known])
    assert (await officer("GET", "people/other/them")).json()["requested_by"] == known
    assert (await officer("GET", "people/other/zebulon")).status_code == 200
    # What is exported can be imported again, which names without a name of their own could not.
    for name in ("people", "agents"):
        exported = await service.client.get(f"/v1/{name}/export", headers=admin.headers)
        assert known not in exported.text
        again = await service.client.post(f"/v1/{name}/import", content=exported.content, headers=headers)
        assert (again.status_code, again.json()["updated"]) == (200, 0), again.text


async def test_nobody_becomes_erased_but_by_two_officers(service, known, officer, second):  # noqa: F811
    aged(service)
    with pytest.raises(InvalidFile, match="status: 'erased' is what an erasure leaves"):
        await service.load(people="organization,external_id,employment,status\nacme,us,employee,erased\n")
    assert (await officer("POST", "people", NEW["people"] | {"status": "erased"})).status_code == 400
    made = (await officer("POST", f"{PATH}/erasure")).json()["id"]
    assert (await officer.approve(made)).json()["code"] == "SELF_APPROVAL_FORBIDDEN"
    for role, scope in (
        (Role.ORG_ADMIN, {"organization": "acme"}),
        (Role.OFFICER, {"authority": "orrery"}),
        (Role.AUDITOR, {}),
    ):
        other = Rest(service, await service.key(role, **scope))
        assert (await other("POST", f"{PATH}/erasure")).status_code == 403
        assert (await other.approve(made)).status_code in {403, 404}
    assert (await officer("GET", PATH)).json()["name"] == "Zebulon Marksson"
    assert (await second.approve(made)).status_code == 200
    with pytest.raises(Conflict, match="has left"):
        async with service.gate.claims.change("seat_claimed", "test") as change:
            await seats.claim(change, known, ["x"])
