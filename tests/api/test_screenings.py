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
    many = [
        one | {"person": "ca", "status": "incomplete"},
        {"organization": "acme", "status": "true_match", "list_version": "2026-11-23"},
    ]
    assert (await officer("POST", "screenings", {"items": many})).json()["updated"] == 2
    assert await primary(service) == "ORG_SCREENING_MATCH"
    entries = [item["body"] for item in await service.entries() if item["body"]["type"] == "screenings_recorded"]
    assert [(entry["rows"], entry["updated"]) for entry in entries] == [(1, 1), (2, 2)]
    assert "match" not in str(entries)


async def test_a_thousand_results_are_one_request(service, officer):
    listed = [f"person-of-a-long-name-{number}" for number in range(1_000)]
    await service.load(
        people="organization,external_id,employment\n" + "".join(f"acme,{name},employee\n" for name in listed)
    )
    one = {
        "organization": "acme",
        "status": "clear",
        "screened_at": "2026-11-01T00:00:00Z",
        "list_version": "2026-11-01",
    }
    items = [one | {"person": name} for name in listed]
    assert (await officer("POST", "screenings", {"items": items})).json()["created"] == 1_000
    assert (await officer("POST", "screenings", {"items": [*items, one]})).status_code == 400


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


# --- adjudication -----------------------------------------------------------------------------------------------


@pytest.fixture
async def hit(service):
    """acme's us has a potential match."""
    await service.load(
        screenings="organization,person,status,screened_at\nacme,us,pending,now-1h\nacme,,pending,now-1h\n"
    )
    return service


async def adjudicate(rest, status, person="us"):
    named = {"person": person} if person else {}
    return await rest("POST", "screenings/adjudicate", {"organization": "acme", "status": status, **named})


async def test_that_a_hit_was_none_is_said_by_two_and_a_match_by_one(hit):
    one, two = [Rest(hit, await hit.key(Role.COMPLIANCE)) for _ in range(2)]
    made = await adjudicate(one, "false_positive")
    assert made.status_code == 202
    organization = await adjudicate(one, "false_positive", None)
    for proposal in (made, organization):
        assert await primary(hit) != "ALLOW"
        assert (await one.approve(proposal.json()["id"])).status_code == 403
        assert (await two.approve(proposal.json()["id"])).status_code == 200
    assert await primary(hit) == "ALLOW"
    again = await adjudicate(one, "true_match")
    assert (again.status_code, "no hit waits" in again.json()["detail"]) == (409, True)
    await hit.load(screenings="organization,person,status,screened_at\nacme,us,pending,now-1h\n")
    assert (await adjudicate(one, "true_match")).status_code == 200
    assert await primary(hit) == "SCREENING_MATCH_CONFIRMED"


async def test_a_providers_result_does_not_lift_a_hit(hit):
    provider = Rest(hit, hit.authorization(Role.COMPLIANCE))
    at = hit.now.isoformat()
    for person in ({"person": "us"}, {}):
        for status in ("clear", "false_positive"):
            item = {"organization": "acme", "status": status, "screened_at": at, **person}
            answer = await provider("POST", "screenings", {"items": [item]})
            assert (answer.status_code, "what it was an adjudicator says" in answer.json()["detail"]) == (400, True)
    fresh = {"organization": "acme", "person": "ca", "status": "false_positive", "screened_at": at}
    answer = await provider("POST", "screenings", {"items": [fresh]})
    assert (answer.status_code, "an adjudicator's word" in answer.json()["detail"]) == (400, True)
    # What was adjudicated may be renewed.
    await hit.load(screenings="organization,person,status,screened_at\nacme,ca,false_positive,now-3d\n")
    assert (await provider("POST", "screenings", {"items": [fresh]})).status_code == 200


async def test_whoever_asked_for_access_does_not_adjudicate(hit):
    one, two = [Rest(hit, await hit.key(Role.COMPLIANCE)) for _ in range(2)]
    new = {"organization": "acme", "external_id": "new", "employment": "employee"}
    assert (await one("POST", "people", new)).status_code == 201
    await hit.load(screenings="organization,person,status\nacme,new,pending\n")
    for status in ("false_positive", "true_match"):
        assert (await adjudicate(one, status, "new")).json()["code"] == "ADJUDICATOR_CONFLICT"
    made = await adjudicate(two, "false_positive", "new")
    assert (await one.approve(made.json()["id"])).json()["code"] == "ADJUDICATOR_CONFLICT"
    themselves = Rest(hit, await hit.key(Role.COMPLIANCE, person="acme/us"))
    assert (await adjudicate(themselves, "false_positive")).json()["code"] == "ADJUDICATOR_CONFLICT"
    assert (await adjudicate(Rest(hit, hit.authorization(Role.COMPLIANCE)), "true_match")).status_code == 403
    assert (await adjudicate(two, "true_match", "nobody")).status_code == 404
    assert (await adjudicate(two, "clear")).status_code == 400


async def test_results_are_listed_by_what_an_officer_looks_for(hit, officer):
    async def names(query):
        items = (await officer("GET", f"screenings?{query}")).json()["items"]
        return [(item["organization"], item["person"]) for item in items]

    assert await names("status=pending") == [("acme", None), ("acme", "us")]
    assert await names("organization=other") == [("other", None)]
    assert await names("person=ca") == [("acme", "ca")]
    await hit.load(screenings="organization,person,status,screened_at\nacme,ca,clear,now-3d\n")
    assert await names("older_than=48") == [("acme", "ca")]
    paged: list[object] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await officer("GET", f"screenings?limit=1{f'&cursor={cursor}' if cursor else ''}")).json()
        paged, cursor = paged + page["items"], page["next"]
    assert len(paged) == 4
    assert paged == (await officer("GET", "screenings")).json()["items"]


async def test_nobody_records_what_was_found_about_themselves(service):
    own = Rest(service, await service.key(Role.COMPLIANCE, person="acme/us"))
    clear = {"organization": "acme", "status": "clear", "screened_at": "2026-11-01T00:00:00Z"}
    refused = await own("POST", "screenings", {"items": [clear | {"person": "ca"}, clear | {"person": "us"}]})
    assert (refused.status_code, refused.json()["code"]) == (403, "ADJUDICATOR_CONFLICT")
    assert (await own("POST", "screenings", {"items": [clear | {"person": "ca"}]})).status_code == 200


async def test_a_match_turns_out_none_by_two(hit):
    await hit.load(screenings="organization,person,status,screened_at\nacme,,clear,now-1h\n")
    one, two = [Rest(hit, await hit.key(Role.COMPLIANCE)) for _ in range(2)]
    assert (await adjudicate(one, "true_match")).status_code == 200
    refused = await one("POST", "screenings", {"items": [{"organization": "acme", "person": "us", "status": "clear"}]})
    assert (refused.status_code, "what it was an adjudicator says" in refused.json()["detail"]) == (400, True)
    proposed = await adjudicate(one, "false_positive")
    assert proposed.status_code == 202
    assert await primary(hit) == "SCREENING_MATCH_CONFIRMED"
    assert (await two.approve(proposed.json()["id"])).status_code == 200
    assert await primary(hit) == "ALLOW"
    assert (await adjudicate(one, "true_match")).status_code == 409
