"""Personal data stays in the records: not in the log, not in an error, not in what the process writes, not in a URL."""

import json
import logging
import re
from pathlib import Path

import pytest
from sqlalchemy import make_url

from mythos_gate import embedded
from mythos_gate.decision import facts
from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
# Each would be recognised wherever it came out.
NAME, MAIL, COUNTRY, DAY = "Zebulon Marksson", "zebulon@secret.example", "UTOPIA", "1977-07-07"
MARKS = (NAME, MAIL, "secret.example", COUNTRY, "Utopia", DAY)


def leaks(text: str) -> list[str]:
    return [mark for mark in MARKS if mark.lower() in text.lower()]


def named(service, entries):
    """What entries say of anybody on record: names, addresses, the names that organizations give, countries."""
    told = [
        value
        for (row,) in service.sql(
            "SELECT to_jsonb(ARRAY[p.name, p.email, o.slug || '/' || p.external_id, p.work_country, p.work_country_text])"
            " FROM people p JOIN organizations o ON o.id = p.organization_id"
            " UNION ALL SELECT to_jsonb(ARRAY[country, country_text, acquired::text]) FROM nationality_records"
            " UNION ALL SELECT to_jsonb(ARRAY[name]) FROM callers"
        )
        for value in row
        if value
    ]
    assert len(told) > 10
    # A country's code is short: it counts as a whole word, as it is written.
    found = re.compile("|".join(rf"(?<![\w-]){re.escape(value)}(?![\w-])" for value in sorted(set(told))))
    return [(entry["body"]["type"], each) for entry in entries for each in found.findall(entry["stored"])]


async def test_no_mark_of_a_person_comes_out(service, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    one, two = [Rest(service, await service.key(Role.COMPLIANCE)) for _ in range(2)]
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    person = {"external_id": "zeb", "employment": "employee", "name": NAME, "email": MAIL, "work_country": "DE"}
    assert (await admin("POST", "people", person)).status_code == 201
    held = {"country": COUNTRY, "acquired": DAY}
    assessment = {"us_person": "no", "citizenships": [held], "evidence_expires": f"{DAY}T00:00:00Z"}
    made = await one("PUT", "people/acme/zeb/assessment", assessment, **{"If-Match": "*"})
    assert (await two.approve(made.json()["id"])).status_code == 200
    assert COUNTRY in (await one("GET", "people/acme/zeb/assessment")).text
    # Asked about, imported, and asked for in ways that fail, with the same marks in every place where they could stand.
    await service.ask(question("acme/zeb", country=COUNTRY))
    await service.ask(question(f"acme/{NAME}", endpoint=MAIL, break_glass=f"acme/{NAME}"), **{"X-Request-ID": MAIL})
    errors = [
        await admin("POST", "people", person),
        await admin("POST", "people", person | {"external_id": MAIL, "employment": MAIL}),
        await admin("POST", "people", person | {"email": NAME, "external_id": "y"}),
        await admin("POST", "people", person | {NAME: 1}),
        await admin("POST", "agents", {"external_id": "z", "sponsor": MAIL}),
        await one("PUT", "people/acme/zeb/assessment", assessment | {"us_person": "yes"}, **{"If-Match": "*"}),
        await one("PUT", "people/acme/zeb/assessment", assessment | {"us_basis": NAME}, **{"If-Match": "*"}),
        await one("PUT", "people/acme/zeb/assessment", assessment | {"citizenships": [held | {"ended": "1900-01-01"}]}, **{"If-Match": "*"}),
        await one("PUT", "people/acme/zeb/assessment", assessment | {"citizenships": [{COUNTRY: DAY}]}, **{"If-Match": "*"}),
        await one("GET", f"people?colour={COUNTRY}"),
        await one("POST", "screenings", {"items": [{"organization": "acme", "person": MAIL, "status": "clear"}]}),
        await service.client.post("/v1/people", content=json.dumps({"name": NAME})[:-1], headers=one.headers),
    ]  # fmt: skip
    text = f"external_id,employment,email,citizenships\nq,employee,{NAME},{COUNTRY}@{DAY}..1900-01-01\n"
    for rest in (one, admin):
        headers = rest.headers | {"Content-Type": "text/csv"}
        errors.append(await service.client.post("/v1/people/import", content=text, headers=headers))
    assert [error.status_code for error in errors if error.status_code < 400] == []
    assert [(error.text, found) for error in errors if (found := leaks(error.text))] == []
    # The database's own errors show whole rows: they are cut off.
    service.sql("ALTER TABLE people ADD CONSTRAINT refused CHECK (external_id <> 'refused')")
    refused = await admin("POST", "people", person | {"external_id": "refused"})
    assert (refused.status_code, leaks(refused.text)) == (409, [])
    host = make_url(service.database).query.get("host")
    if isinstance(host, str) and Path(host, embedded.LOG).is_file():  # else another says what that server writes
        log = Path(host, embedded.LOG).read_text()
        assert "violates check constraint" in log
        assert [line for line in log.splitlines() if leaks(line)] == []
    entries = await service.entries()
    assert len(entries) > 10
    assert leaks(json.dumps(entries)) == []
    assert named(service, entries) == []

    # What the process writes, also when something fails over what is on record; the test's own client is none of it.
    def failing(*_):
        raise ValueError(f"{NAME} of {COUNTRY}")

    monkeypatch.setattr(facts, "derive", failing)
    assert (await service.ask(question("acme/zeb"))).status_code == 503
    written = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert written
    assert [line for line in written if leaks(line)] == []
    # The reader's role, which serves change requests and the log, has none of it either.
    requests = await Rest(service, service.authorization(Role.AUDITOR))("GET", "change-requests")
    assert requests.json()["items"]
    assert leaks(requests.text) == []
