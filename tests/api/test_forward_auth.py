"""Forward authentication: what a proxy asks with headers is decided and recorded like any other request."""

import pytest

from mythos_gate.terms import Role
from tests.api.test_routes import ALLOWED

pytestmark = pytest.mark.anyio


async def ask(service, role=Role.GATEWAY, **changed):
    """With headers by their last part; None leaves one out."""
    names = {f"X-Gate-{name.replace('_', '-').title()}": value for name, value in changed.items()}
    headers = {name: value for name, value in (ALLOWED | names).items() if value is not None}
    key = service.authorization(role) if role else {}
    return await service.client.get("/forward-auth", headers=headers | key)


async def test_an_allowed_request_is_200_and_recorded(service):
    answer = await ask(service)
    assert (answer.status_code, answer.content, answer.headers["x-reason-code"]) == (200, b"", "OK")
    entry = (await service.entries())[-1]["body"]
    assert (entry["type"], entry["id"], entry["outcome"]) == ("decision", answer.headers["x-decision-id"], "allow")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"country": "CN"}, "LOCATION_NOT_PERMITTED"),
        ({"country": None}, "LOCATION_NEEDED"),
        ({"country": ""}, "LOCATION_NEEDED"),
        ({"anonymizer": "yes"}, "LOCATION_NEEDED"),
        ({"conflict": "yes"}, "LOCATION_NEEDED"),
        ({"mfa": "totp"}, "STEP_UP"),
        ({"endpoint": "other/ep-2"}, "USE_APPROVED_DEVICE"),
        ({"capability": "exploit-generation"}, "NOT_IN_SCOPE"),
        ({"purpose": None}, "NOT_IN_SCOPE"),
        ({"version": "6.0"}, "NOT_IN_SCOPE"),
        ({"subject": "acme/nobody"}, "NOT_ENROLLED"),
        ({"subject": "acme/bot", "subject_type": "agent"}, None),
        ({"break_glass": "acme/INC-0"}, "CONTACT_COMPLIANCE"),
    ],
    ids=str,
)
async def test_every_header_counts(service, changed, reason):
    answer = await ask(service, **changed)
    if reason is None:  # the agent may
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.headers["x-reason-code"]) == (403, reason)
        assert (answer.json()["type"], answer.json()["code"]) == ("urn:mythos-gate:problem:denied", reason)
    assert (await service.entries())[-1]["body"]["id"] == answer.headers["x-decision-id"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"subject": None}, "subject.id: field required"),
        ({"model": None}, "resource.id: field required"),
        ({"anonymizer": "perhaps"}, "is neither yes nor no"),
        ({"colour": "red"}, "x-gate-colour: is no header of an evaluation"),
        ({"subject": "x" * 257}, "subject.id: "),
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_told_and_is_no_answer(service, changed, told):
    before = len(await service.entries())
    answer = await ask(service, **changed)
    assert (answer.status_code, told in answer.json()["detail"]) == (400, True)
    assert (await ask(service, role=None, **changed)).status_code == 401
    assert len(await service.entries()) == before


async def test_a_header_that_a_client_has_added_is_refused(service):
    headers = [*(ALLOWED | service.authorization(Role.GATEWAY)).items(), ("X-Gate-Subject", "acme/ca")]
    answer = await service.client.get("/forward-auth", headers=headers)
    assert (answer.status_code, "is there twice" in answer.json()["detail"]) == (400, True)


async def test_a_role_that_may_not_ask_gets_no_decision(service):
    answer = await ask(service, role=Role.AUDITOR)
    assert (answer.status_code, "x-decision-id" in answer.headers) == (403, False)


async def test_other_methods_and_paths_are_refused(service):
    key = service.authorization(Role.GATEWAY) | ALLOWED
    assert (await service.client.post("/forward-auth", headers=key)).status_code == 405
    for path in ("/forward-auth/", "//forward-auth", "/forward-auth/../forward-auth/x"):
        assert (await service.client.get(path, headers=key)).status_code == 404
