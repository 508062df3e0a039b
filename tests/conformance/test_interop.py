"""The interop scenarios of the AuthZEN working group, older than the suite: todos, and a search of records."""

import pytest

from tests.conformance import shared
from tests.conformance.points import TODOS, library

pytestmark = shared.marks
DECISIONS = shared.read("interop-todo/decisions-authorization-api-1_0-02.json", {"evaluation": [], "evaluations": []})
SEARCHES = [
    (kind, case)
    for kind in ("subject", "resource", "action")
    for case in shared.read(f"interop-search/{kind}-results.json", {"evaluation": []})["evaluation"]
]


def test_the_scenarios_are_all_here():
    assert (len(DECISIONS["evaluation"]), len(DECISIONS["evaluations"]), len(SEARCHES)) == (40, 3, 198)


async def test_todos(serve):
    wire = await serve(TODOS)
    for case in DECISIONS["evaluation"]:
        answer = await wire.send("evaluation", json=case["request"])
        assert (answer.status_code, answer.json()["decision"]) == (200, case["expected"]), case
    for case in DECISIONS["evaluations"]:
        answer = await wire.send("evaluations", json=case["request"])
        assert [each["decision"] for each in answer.json()["evaluations"]] == [
            each["decision"] for each in case["expected"]
        ], case


@pytest.mark.parametrize("limit", [None, 1, 7])
async def test_searches(serve, limit):
    wire = await serve(library(*(shared.read(f"interop-search/{name}.json", []) for name in ("users", "records"))))
    for kind, case in SEARCHES:
        found = await search(wire, kind, case["request"], limit)
        expected = case["expected"]["results"]
        assert sorted(map(str, found)) == sorted(map(str, expected)), case["request"]


async def search(wire, kind, members, limit):
    found, token = [], None
    while token != "":
        page = {name: value for name, value in (("limit", limit), ("token", token)) if value is not None}
        answer = await wire.send(f"search/{kind}", json=members | ({"page": page} if page else {}))
        assert answer.status_code == 200, answer.text
        found += answer.json()["results"]
        token = answer.json()["page"]["next_token"]
    return found
