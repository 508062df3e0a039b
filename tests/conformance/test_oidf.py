"""The OpenID Foundation's conformance modules for a PDP, read as data: each is one request and what may come back."""

import json
from collections import Counter

import pytest

from tests.conformance import shared
from tests.conformance.points import SUITE

pytestmark = shared.marks
DATA = shared.read("oidf-authzen-pdp-modules.json", {"count": 0, "modules": []})
MODULES = {each["module"]: each for each in DATA["modules"]}
ROWS = shared.read("fixture-truth-table.json", {"rows": []})["rows"]


@pytest.fixture(scope="module")
async def wire(serve):
    return await serve(SUITE)


def test_the_modules_are_all_here():
    assert len(MODULES) == DATA["count"] == 127


@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
async def test_module(wire, module):
    answers = [await send(wire, module) for _ in range(module.get("repeat", 1))]
    for answer in answers:
        assert answer.status_code in module["expect_status"], answer.text
        if module["x_request_id_echo"]:
            assert answer.headers["x-request-id"] == module["module"]
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"]
    if answers[0].status_code != 200:
        assert "decision" not in answers[0].text
        return
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    told = [answer.json() for answer in answers]
    assert [repeated(module, each) for each in told] == [repeated(module, told[0])] * len(told)
    if module.get("single_evaluation_response"):
        assert isinstance(told[0]["decision"], bool)
        assert "evaluations" not in told[0]
    elif module.get("follow_pagination"):
        for repeats_limit in (True, False):
            found = await pages(wire, module, told[0], repeats_limit=repeats_limit)
            COMPARED[module["compare"]](module["expect_body"], {"results": found})
    else:
        COMPARED[module["compare"]](module["expect_body"], told[0])


async def send(wire, module, members=None):
    headers = {"Content-Type": module["content_type"]}
    if module["x_request_id_echo"]:
        headers["X-Request-ID"] = module["module"]
    if module["skip_auth"]:
        headers["Authorization"] = None
    if module["corrupt_auth"]:
        key = wire.headers["Authorization"]
        headers["Authorization"] = key[:-1] + ("0" if key[-1] != "0" else "1")
    members = members or module["request"]
    content = module["raw_body"] if members is None else json.dumps(members)
    assert wire.endpoints[module["api"]].endswith(module["default_path"])
    return await wire.send(module["api"], module["method"], content=content, headers=headers)


async def pages(wire, module, told, *, repeats_limit):
    """All results, from the first page on."""
    results = list(told["results"])
    while told["page"]["next_token"]:
        page = dict(module["request"]["page"]) if repeats_limit else {}
        page["token"] = told["page"]["next_token"]
        answer = await send(wire, module, module["request"] | {"page": page})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        results += told["results"]
    return results


def repeated(module, told):
    """What is the same whenever it is asked: a single decision alone has an id and a time of its own."""
    return told["decision"] if module["api"] == "evaluation" else told


def decision(expected, told):
    assert isinstance(told["decision"], bool)
    assert told["decision"] == expected["decision"]


def decisions(expected, told):
    assert [each["decision"] for each in told["evaluations"]] == [each["decision"] for each in expected["evaluations"]]
    assert "decision" not in told


def results(expected, told):
    """At least those expected, each once, and each nothing but an identifier; none where none is expected."""
    assert next(iter(told)) in {"page", "results"}
    seen = Counter(tuple(each.items()) for each in told["results"])
    wanted = {tuple(each.items()) for each in expected["results"]}
    assert wanted <= seen.keys()
    assert bool(seen) is bool(wanted)
    assert set(seen.values()) <= {1}
    assert {tuple(name for name, _ in each) for each in seen} <= {("type", "id"), ("name",)}


# By what the data says of how to compare.
COMPARED = {
    "decision equals": decision,
    "decisions equal in order and length": decisions,
    "results must include expected (order-insensitive)": results,
}


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: json.dumps([row[name] for name in ("subject", "action", "resource")])
)
async def test_row_of_the_truth_table(wire, row):
    """What the modules assert together; a type that they take from the request's own is a record's."""
    question = {name: row[name] for name in ("subject", "action", "resource")}
    question["resource"] = {"type": "record"} | question["resource"]
    answer = await wire.send("evaluation", json=question)
    assert (answer.status_code, answer.json()["decision"]) == (200, row["decision"])
