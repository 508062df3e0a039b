"""What somebody could reach on a day gone by: by the records, the data set and the policy of that day."""

import pytest

from mythos_gate.audit.entry import timestamp
from mythos_gate.terms import Role
from tests.api.test_policies import BASELINE, CLOSED
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures

pytestmark = pytest.mark.anyio


@pytest.fixture
async def auditor(service):
    await service.load(
        people="organization,external_id,employment,work_country\nacme,us,employee,US\nacme,ca,employee,US\n"
    )
    return Rest(service, await service.key(Role.AUDITOR))


async def access(service, rest, person, at):
    answer = await rest("GET", f"people/{person}/access?at={at}")
    assert answer.status_code == 200, answer.text
    (model,) = answer.json()["models"]
    return model["outcome"], model["codes"][0], model["policy_revision"]


def moment(service):
    """Later than all that was done, and earlier than what is done next."""
    [(at,)] = service.sql("SELECT clock_timestamp()")
    return timestamp(at)


async def test_each_day_is_judged_by_its_own_records(service, officer, second, auditor):  # noqa: F811
    us, ca = "acme/us", "acme/ca"
    days = [moment(service)]
    assert (await officer("POST", "people/acme/us/suspend")).status_code == 200
    days.append(moment(service))
    back = await officer("POST", "people/acme/us/activate")
    assert (await second.approve(back.json()["id"])).status_code == 200
    days.append(moment(service))
    await service.activate(CLOSED)
    days.append(moment(service))
    await service.activate(BASELINE)
    [(grant,)] = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    assert (await officer("POST", f"grants/{grant}/suspend")).status_code == 200
    days.append(moment(service))
    seen = [await access(service, auditor, us, day) for day in days]
    assert seen == [
        ("allow", "ALLOW", 1),
        ("deny", "PERSON_SUSPENDED", 1),
        ("allow", "ALLOW", 1),
        ("deny", "ORG_NOT_AUTHORIZED", 2),
        ("deny", "AUTHORIZATION_SUSPENDED", 1),
    ]
    now = (await auditor("GET", "people/acme/us/eligibility")).status_code
    assert now == 403  # today's is the staff's own
    assert (await access(service, auditor, ca, days[0]))[0] == "allow"


async def test_nationality_counts_as_it_was_and_is_not_told(service, officer, second, auditor):  # noqa: F811
    before = moment(service)
    found = await officer("GET", "people/acme/ca/assessment")
    changed = {**found.json(), "citizenships": [{"country": "IR"}]}
    changed = {name: changed[name] for name in ("us_person", "citizenships", "evidence_expires") if name in changed}
    asked = await officer("PUT", "people/acme/ca/assessment", changed, **{"If-Match": "*"})
    assert asked.status_code == 202, asked.text
    assert (await second.approve(asked.json()["id"])).status_code == 200
    after = moment(service)
    assert (await access(service, auditor, "acme/ca", before)) == ("allow", "ALLOW", 1)
    assert (await access(service, auditor, "acme/ca", after))[:2] == ("deny", "CITIZENSHIP_EMBARGOED")
    told = (await auditor("GET", f"people/acme/ca/access?at={after}")).text
    assert "IR" not in told.replace("CITIZENSHIP_EMBARGOED", "")


async def test_who_was_not_on_record_then_is_not_found(service, officer, auditor):  # noqa: F811
    assert (await auditor("GET", "people/acme/us/access?at=2001-01-01T00:00:00Z")).status_code == 404
    assert (await auditor("GET", "people/acme/us/access?at=2100-01-01T00:00:00Z")).status_code == 400
    assert (await auditor("GET", "people/acme/us/access")).status_code == 400
    assert (await officer("GET", f"people/acme/nobody/access?at={moment(service)}")).status_code == 404


@pytest.mark.parametrize(
    "role", ["mythos_gate_service", "mythos_gate_reader", "mythos_gate_office", "mythos_gate_tenant"]
)
async def test_the_past_is_read_by_compliance_alone(service, role):
    assert service.sql("SELECT has_schema_privilege(%s, 'past', 'USAGE')", role) == [(False,)]
    assert service.sql("SELECT has_schema_privilege('mythos_gate_compliance', 'past', 'USAGE')") == [(True,)]
