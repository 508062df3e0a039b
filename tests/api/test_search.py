"""The three searches (AuthZEN 1.0, section 8)."""

import pytest

from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio


async def search(service, kind, members, status=200):
    answer = await service.post(f"/access/v1/search/{kind}", json=members)
    assert answer.status_code == status, answer.text
    return answer


async def test_try(service):
    for kind in ("subject", "resource", "action"):
        print((await search(service, kind, question())).text)
        print((await search(service, kind, question(kind="agent", subject="acme/bot"))).text)
        q = question()
        q.pop("action")
    print((await search(service, "action", q)).text)
    print((await service.client.get("/.well-known/authzen-configuration")).text)
