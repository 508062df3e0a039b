"""What expires or falls due, soonest first, for whom it is theirs."""

from datetime import datetime

import pytest

from mythos_gate.terms import Role
from tests.api.test_resources import Rest

pytestmark = pytest.mark.anyio
GRANTS = (
    "authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes\n"
    "orrery,V-7,acme,mythos-5,active,now-9d,now+9d,5.1,x,own\norrery,V-8,acme,mythos-5,revoked,now-9d,now+9d,5.1,x,own\n"
)


@pytest.fixture
async def due(service):
    """acme's ca in need of training in 3 days, evidence in 5, a grant that ends in 9; one of other's since yesterday."""
    await service.load(
        people="organization,external_id,employment,training_expires,evidence_expires,us_person,citizenships\n"
        "acme,ca,employee,now+3d,now+5d,no,CA@1991-01-01\nother,them,employee,now-1d,,unknown,\nacme,gone,ended,now+1d,,unknown,\n"
        "acme,us,employee,now+200d,now+4d,yes,\n",
        grants=GRANTS,
        break_glass="organization,incident,opened_by,approvers,opened,expires\nacme,I-1,a,b;c,now-70d,now-69d\n",
        agents="organization,external_id,sponsor,status,expires\nacme,lost,us,revoked,now+2d\nother,theirs,them,suspended,now+2d\n",
    )
    await service.load(
        people="organization,external_id,employment,status,training_expires,review_due\nacme,off,employee,suspended,now+2d,now+2d\n"
    )
    return service


def told(answer):
    assert answer.status_code == 200, answer.text
    return [(item["kind"], item["organization"], item["name"]) for item in answer.json()["items"]]


async def test_an_officer_sees_the_programme_soonest_first(due):
    officer = Rest(due, due.authorization(Role.COMPLIANCE))
    answer = await officer("GET", "attention?within=20")
    assert told(answer) == [
        ("break_glass_review", "acme", "I-1"),
        ("training", "other", "them"),
        ("credential", "acme", "bot"),
        ("training", "acme", "ca"),
        ("evidence", "acme", "ca"),
        ("grant", "acme", "V-7"),
    ]
    times = [datetime.fromisoformat(item["due"]) for item in answer.json()["items"]]
    assert times == sorted(times)
    assert told(await officer("GET", "attention?within=4&overdue=0"))[2:] == [("training", "acme", "ca")]
    data = await officer("GET", "attention?within=100")
    assert ("data_set", None, "test") in told(data)


async def test_an_administrator_sees_the_own_staff_and_nothing_of_an_assessment(due):
    for organization, expected in {
        "acme": [("credential", "acme", "bot"), ("training", "acme", "ca")],
        "other": [("training", "other", "them")],
    }.items():
        admin = Rest(due, await due.key(Role.ORG_ADMIN, organization=organization))
        assert told(await admin("GET", "attention?within=20")) == expected


async def test_nothing_is_left_out_between_pages(due):
    officer = Rest(due, due.authorization(Role.COMPLIANCE))
    whole = told(await officer("GET", "attention?within=200"))
    paged: list[object] = []
    cursor: str | None = None
    while True:
        page = await officer("GET", "attention?within=200&limit=2" + (f"&cursor={cursor}" if cursor else ""))
        paged += told(page)
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert paged == whole
    assert len(whole) > 5
    assert (await officer("GET", "attention?cursor=x")).status_code == 400


async def test_an_auditor_or_a_gateway_is_not_told(due):
    for role in (Role.AUDITOR, Role.GATEWAY):
        assert (await Rest(due, due.authorization(role))("GET", "attention")).status_code == 403
