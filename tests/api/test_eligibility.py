"""Eligibility: what a person would be answered, told to an organization without what it may not know."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import Rest
from tests.service import question

pytestmark = pytest.mark.anyio
PERSON = "organization,external_id,employment,work_country,us_person,us_basis,citizenships,evidence_expires,training_expires,acceptable_use,technology_control_plan,approvals,requested_by,review_due\n"
GOOD = "now+90d,now+90d,yes,yes,a1;a2,r1,now+90d\n"


@pytest.fixture
async def rests(service):
    """An administrator of acme, and an officer."""
    await service.load(
        people=f"{PERSON}acme,us,employee,US,yes,citizen,,{GOOD}acme,ca,employee,DE,no,,CA@1991-01-01,{GOOD}"
    )
    admin = Rest(service, await service.key(Role.ORG_ADMIN, organization="acme"))
    return admin, Rest(service, service.authorization(Role.COMPLIANCE))


async def told(rest, person="us"):
    answer = await rest("GET", f"people/acme/{person}/eligibility")
    assert answer.status_code == 200, answer.text
    [model] = answer.json()["models"]
    return model


async def test_it_is_the_answer_that_a_request_would_get(service, rests):
    admin, officer = rests
    assert await told(admin) == {"model": "mythos-5", "status": "eligible", "actions": []}
    assert (await told(officer, "ca"))["codes"] == ["ALLOW"]
    entries, seats = len(await service.entries()), service.sql("SELECT count(*) FROM seats")
    await told(admin, "ca")
    assert (len(await service.entries()), service.sql("SELECT count(*) FROM seats")) == (entries, seats)
    await officer("POST", "people/acme/us/suspend")
    assert await told(admin) == {
        "model": "mythos-5",
        "status": "action_needed",
        "actions": [
            {"code": "PERSON_SUSPENDED", "what": "Lift with reason, four-eyes.", "who": "compliance"},
        ],
    }


@pytest.mark.parametrize(
    ("row", "status", "codes", "hidden"),
    [
        (f"acme,us,employee,US,unknown,,,{GOOD}", "in_compliance_review", [], "US_PERSON_STATUS_UNVERIFIED"),
        (f"acme,us,employee,DE,no,,IR@1990-01-01,{GOOD}", "not_eligible", [], "CITIZENSHIP_EMBARGOED"),
        (f"acme,us,employee,DE,no,,CN@1990-01-01,{GOOD}", "not_eligible", [], "CITIZENSHIP_RESTRICTED"),
        (f"acme,us,contractor,DE,no,,CA@1990-01-01,{GOOD}", "action_needed", ["CONTRACTOR_NOT_COVERED"], None),
        ("acme,us,employee,US,yes,citizen,,,now-1d,yes,yes,a1;a2,r1,now+90d\n", "action_needed", ["TRAINING_EXPIRED"], None),
        (
            "acme,us,employee,US,yes,citizen,,,now-1d,yes,no,a1,r1,now-1d\n",
            "action_needed",
            ["TRAINING_EXPIRED", "ATTESTATION_MISSING", "APPROVAL_INCOMPLETE", "ACCESS_REVIEW_OVERDUE"],
            None,
        ),
        ("acme,us,employee,US,unknown,,,,now-1d,yes,yes,a1;a2,r1,now+90d\n", "in_compliance_review", ["TRAINING_EXPIRED"], "US_PERSON_STATUS_UNVERIFIED"),
        (f"acme,us,employee,,yes,citizen,,{GOOD}", "action_needed", ["LOCATION_UNVERIFIED"], None),
        (f"acme,us,ended,US,yes,citizen,,{GOOD}", "action_needed", ["EMPLOYMENT_ENDED"], None),
    ],
    ids=lambda value: value if isinstance(value, str) and "," not in value else "",
)  # fmt: skip
async def test_an_organization_is_told_what_to_do_and_not_what_is_on_record(service, rests, row, status, codes, hidden):
    admin, officer = rests
    await service.load(people=PERSON + row)
    seen = await told(admin)
    assert (seen["status"], [action["code"] for action in seen["actions"]]) == (status, codes)
    assert all(action["what"] and action["who"] for action in seen["actions"])
    assert seen.keys() == {"model", "status", "actions"}
    full = await told(officer)
    assert (hidden or codes[0]) in full["codes"]
    assert hidden is None or hidden not in str(seen)


@pytest.mark.parametrize(
    ("screening", "status", "code"),
    [
        ("pending", "in_compliance_review", "SCREENING_HIT_PENDING"),
        ("true_match", "not_eligible", "SCREENING_MATCH_CONFIRMED"),
        ("incomplete", "in_compliance_review", "SCREENING_INCOMPLETE"),
    ],
)
async def test_a_screening_is_not_told(service, rests, screening, status, code):
    admin, officer = rests
    await service.load(screenings=f"organization,person,status,screened_at\nacme,us,{screening},now-1h\n")
    assert await told(admin) == {"model": "mythos-5", "status": status, "actions": []}
    assert code in (await told(officer))["codes"]


async def test_what_the_organization_lacks_is_told_as_well(service, rests):
    admin, _ = rests
    await admin("POST", "endpoints/acme/ep-1/revoke")
    assert [action["code"] for action in (await told(admin))["actions"]] == ["ENDPOINT_NOT_REGISTERED"]
    await service.load(people=f"{PERSON}other,them,employee,US,yes,citizen,,{GOOD}")
    other = Rest(service, await service.key(Role.ORG_ADMIN, organization="other"))
    [model] = (await other("GET", "people/other/them/eligibility")).json()["models"]
    assert model["model"] is None
    assert "ORG_NOT_AUTHORIZED" in [action["code"] for action in model["actions"]]


async def test_no_free_seat_is_told(service, rests):
    admin, _ = rests
    await service.load(
        grants="authority,reference,organization,model,status,not_before,versions,capabilities,purposes,foreign_nationals,allowed_countries,contractors,seat_cap\n"
        "orrery,V-1,acme,mythos-5,active,now-90d,5.1,vuln-discovery,defensive-own-systems,all_except,*,yes,1\n"
    )
    assert (await told(admin))["status"] == "eligible"
    assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    assert [action["code"] for action in (await told(admin))["actions"]] == ["SEAT_CAP_REACHED"]
    assert (await told(admin, "ca"))["status"] == "eligible"


async def test_the_use_that_both_authorities_agree_on_is_asked(service, rests):
    admin, _ = rests
    await service.load(
        grants="authority,reference,organization,model,status,not_before,versions,capabilities,purposes,foreign_nationals,allowed_countries\n"
        "orrery,V-1,acme,mythos-5,active,now-90d,5.0;5.1,a;vuln-discovery,own;defensive-own-systems,all_except,*\n"
        "export-office,G-1,acme,mythos-5,active,now-90d,5.0,vuln-discovery,defensive-own-systems,all_except,*\n"
    )
    assert (await told(admin, "ca"))["status"] == "eligible"


async def test_the_list_finds_who_fits_and_leaves_nobody_out(service, rests):
    admin, officer = rests
    await service.load(
        people=PERSON
        + "".join(f"acme,p{number},employee,US,unknown,,,{GOOD}" for number in range(5))
        + f"acme,t1,employee,US,yes,citizen,,now+90d,now-1d,yes,yes,a1;a2,r1,now+90d\nother,t2,employee,US,unknown,,,{GOOD}"
    )
    await service.load(
        screenings="organization,person,status,screened_at\n"
        + "".join(f"acme,p{number},clear,now-1h\n" for number in range(5))
        + "acme,t1,clear,now-1h\nacme,us,clear,now-3d\n"
    )

    async def names(rest, query):
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await rest("GET", f"eligibility?limit=3{query}{f'&cursor={cursor}' if cursor else ''}")).json()
            found, cursor = found + [item["person"] for item in page["items"]], page["next"]
        return sorted(found)

    held = [f"acme/p{number}" for number in range(5)]
    assert await names(admin, "&status=eligible") == ["acme/ca"]
    assert await names(admin, "&status=in_compliance_review") == [*held, "acme/us"]
    assert await names(admin, "&reason=TRAINING_EXPIRED") == ["acme/t1"]
    assert await names(admin, "") == sorted(["acme/ca", *held, "acme/t1", "acme/us"])
    # An organization does not find by what it is not told.
    assert await names(admin, "&reason=SCREENING_STALE") == []
    assert await names(officer, "&reason=SCREENING_STALE&organization=acme") == ["acme/us"]
    assert await names(officer, "&status=on_hold&organization=acme") == [*held, "acme/us"]
    assert await names(officer, "&reason=ORG_NOT_AUTHORIZED") == ["other/t2"]
    assert await names(admin, "&organization=other") == []
    assert (await admin("GET", "eligibility?status=bogus")).status_code == 400


async def test_another_organizations_person_is_not_there(service, rests):
    admin, _ = rests
    await service.load(people="organization,external_id,employment\nother,them,employee\n")
    ((them,),) = service.sql("SELECT id FROM people WHERE external_id = 'them'")
    for path in ("other/them", "nowhere/them", them, "acme/nobody"):
        answer = await admin("GET", f"people/{path}/eligibility")
        assert (answer.status_code, answer.json()["detail"]) == (404, "no such person")


async def test_one_locked_device_of_several_is_not_what_is_asked_with(service, rests):
    admin, officer = rests
    await service.load(endpoints="organization,external_id,attested\nacme,ep-3,yes\n")
    for endpoint, status in (("ep-1", "eligible"), ("ep-3", "action_needed")):
        await officer("POST", "stops", {"scope": "endpoint", "target": f"acme/{endpoint}", "incident": "I-1"})
        assert (await told(admin))["status"] == status
