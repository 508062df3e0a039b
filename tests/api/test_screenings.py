"""Screening results over REST: the next decision rests on them, all are taken or none."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio


@pytest.fixture
def officer(service):
    return Rest(service, service.authorization(Role.COMPLIANCE))


async def primary(service, subject="acme/us"):
    return (await service.ask(question(subject, country="DE"))).json()["context"]["reason_admin"]["primary"]


async def test_results_for_a_person_and_for_the_organization_count_at_once(service, officer):
    assert await primary(service) == "ALLOW"
    one = {"organization": "acme", "person": "us", "status": "pending", "screened_at": service.now.isoformat()}
    assert (await officer("POST", "screenings", {"items": [one]})).json() == {
        "created": 0,
        "updated": 1,
        "unchanged": 0,
    }
    assert await primary(service) == "SCREENING_HIT_PENDING"
    assert await primary(service, "acme/ca") == "ALLOW"
    many = [one | {"status": "clear"}, {"organization": "acme", "status": "true_match", "list_version": "2026-11-23"}]
    assert (await officer("POST", "screenings", {"items": many})).json()["updated"] == 2
    assert await primary(service) == "ORG_SCREENING_MATCH"
    entries = [item["body"] for item in await service.entries() if item["body"]["type"] == "screenings_recorded"]
    assert [(entry["rows"], entry["updated"]) for entry in entries] == [(1, 1), (2, 2)]
    assert "match" not in str(entries)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([{"organization": "acme", "person": "us", "status": "clear"}, {"organization": "acme", "status": "fine"}], "item 2, status: 'fine' is not one of"),
        ([{"organization": "acme", "person": "nobody", "status": "clear"}], "item 1, person: 'acme/nobody' is no person on record"),
        ([{"organization": "acme", "person": "us"}], "item 1, status: must be there"),
        ([{"person": "us", "status": "clear"}], "item 1, organization: must be there"),
        ([{"organization": "acme", "status": "clear", "colour": 1}], "item 1: 'colour' is no member"),
        ([{"organization": "acme", "status": True}], "item 1, status: is of another type"),
        ([{"organization": "acme", "status": "clear"}] * 2, "item 2, person: 'acme' is in item 1 already"),
        ([], "items"),
        (["x"], "items.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_one_bad_item_and_none_is_taken(service, officer, items, told):
    before = service.sql("SELECT n FROM revision")
    answer = await officer("POST", "screenings", {"items": items})
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert before == service.sql("SELECT n FROM revision")


async def test_only_compliance_records_them(service):
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    for rest in (
        admin,
        Rest(service, service.authorization(Role.AUDITOR)),
        Rest(service, service.authorization(Role.GATEWAY)),
    ):
        assert (await rest("POST", "screenings", {"items": []})).status_code == 403
