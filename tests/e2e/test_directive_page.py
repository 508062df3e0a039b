"""docs/directive.md, request by request: what it says of each answer is so."""

import json
import re

import pytest

from mythos_gate.settings import root
from mythos_gate.terms import Role

pytestmark = [pytest.mark.anyio, pytest.mark.verified]
PAGE = (root() / "docs" / "directive.md").read_text()
BLOCKS = re.findall(r"^```http\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PEOPLE = """organization,external_id,employment,work_country,us_person,us_basis,citizenships,evidence_expires,training_expires,acceptable_use,technology_control_plan,approvals,requested_by,review_due
acme,ursula,employee,US,yes,citizen,,,now+90d,yes,yes,a1;a2,r1,now+90d
acme,camille,employee,US,no,,CA@1990-05-05,now+90d,now+90d,yes,yes,a1;a2,r1,now+90d
"""
SCREENINGS = "organization,person,status,screened_at\nacme,ursula,clear,now-1h\nacme,camille,clear,now-1h\n"


def member(answer, path):
    for name in path.split("."):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


async def test_the_story_is_as_it_is_told(service):
    await service.load(people=PEOPLE, screenings=SCREENINGS)
    senders = {
        "compliance": await service.key(Role.COMPLIANCE),
        "officer": await service.key(Role.OFFICER, authority="export-office"),
        "second": await service.key(Role.OFFICER, authority="export-office"),
        "gateway": service.authorization(Role.GATEWAY),
    }
    kept: dict[str, str] = {}
    said = 0
    for block in BLOCKS:
        told = re.sub(r"{([A-Z0-9]+)}", lambda name: kept[name[1]], block)
        first, sender, *rest = told.splitlines()
        method, path = first.split()
        body = "null" if method == "GET" else rest.pop(0)
        headers = senders[sender.removeprefix("from ")] | ({"If-Match": "*"} if method == "PATCH" else {})
        answer = await service.client.request(method, path, json=json.loads(body), headers=headers)
        assert answer.status_code < 300, answer.text
        for line in rest:
            if line.startswith("-> "):
                name, _, expected = line.removeprefix("-> ").partition(": ")
                found = answer.status_code if name == "status" else member(answer.json(), name)
                assert expected == (found if isinstance(found, str) else json.dumps(found)), (first, line)
                said += 1
            else:
                name, _, path = line.partition(" = ")
                kept[name] = member(answer.json(), path)
    assert (len(BLOCKS), said) == (10, 19)
