"""Several questions in one request (AuthZEN 1.0, section 7): each decided and recorded as if it were asked alone."""

import pytest

from mythos_gate.terms import Role
from tests.service import PROGRAMME, question

pytestmark = pytest.mark.anyio
PEOPLE, FIRST = PROGRAMME["people"].splitlines()[:2]
REST = FIRST.removeprefix("acme,us,")
PATH = "/access/v1/evaluations"
US, NOBODY = {"subject": {"type": "person", "id": "acme/us"}}, {"subject": {"type": "person", "id": "acme/nobody"}}


async def ask(service, members, status=200):
    answer = await service.client.post(PATH, json=members, headers=service.authorization(Role.COMPLIANCE))
    assert answer.status_code == status, answer.text
    return answer


async def decided(service, items, semantic=None, **more):
    options = {"options": {"evaluations_semantic": semantic}} if semantic else {}
    answer = await ask(service, question() | {"evaluations": items} | options | more)
    assert "decision" not in answer.json()
    return [item["decision"] for item in answer.json()["evaluations"]]


async def test_every_item_is_decided_in_order_and_recorded(service):
    items = [US, NOBODY, {"context": question(endpoint=None)["context"]}, {}]
    answer = await ask(service, question() | {"evaluations": items, "options": {"explain": True}})
    shown = answer.json()["evaluations"]
    assert [item["decision"] for item in shown] == [True, False, False, True]
    alone = [(await service.ask(question() | item)).json()["context"] for item in items]
    assert [item["context"] for item in shown] == [
        {name: value for name, value in context.items() if name not in {"id", "evaluated_at"}} for context in alone
    ]
    ids = answer.headers["x-decision-ids"].split(",")
    assert len(set(ids)) == 4
    for identifier, item in zip(ids, shown, strict=True):
        entry = (await service.get(f"/v1/decisions/{identifier}")).json()
        assert entry["reasons"] == item["context"]["reason_admin"]["codes"]


@pytest.mark.parametrize(
    ("semantic", "items", "expected"),
    [
        (None, [NOBODY, US, NOBODY], [False, True, False]),
        ("execute_all", [NOBODY, US, NOBODY], [False, True, False]),
        ("deny_on_first_deny", [US, NOBODY, US], [True, False]),
        ("deny_on_first_deny", [US, "what is this", US], [True, False]),
        ("deny_on_first_deny", [US, US], [True, True]),
        ("permit_on_first_permit", [NOBODY, US, NOBODY], [False, True]),
        ("permit_on_first_permit", [NOBODY, NOBODY], [False, False]),
    ],
)
async def test_the_three_semantics(service, semantic, items, expected):
    before = service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'")[0][0]
    assert await decided(service, items, semantic) == expected
    recorded = sum(isinstance(item, dict) for item in items[: len(expected)])
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == [(before + recorded,)]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"resource": {"properties": {"version": "5.0.1"}}}, True),  # type and id are the request's
        ({"resource": {"properties": {"version": "6.0.0"}}}, False),
        ({"resource": {"id": "mythos-5"}}, False),  # with the entity its properties are the item's own
        ({"action": {"name": "invoke"}}, False),
        ({"subject": {"id": "acme/us"}}, True),
        ({"subject": {"type": "agent", "id": "acme/bot"}}, True),
        ({"context": {}}, False),
    ],
    ids=str,
)
async def test_an_items_own_entity_counts_and_lacks_no_identifier(service, item, expected):
    assert await decided(service, [item]) == [expected]


@pytest.mark.parametrize(
    "item",
    [None, 3, "x", [], {"subject": {"type": 1}}, {"context": []}, {"context": {"location": {"anonymizer": "no"}}}, {"subject": None}],
    ids=str,
)  # fmt: skip
async def test_an_item_that_cannot_be_read_hurts_no_other(service, item):
    answer = await ask(service, question() | {"evaluations": [US, item, US]})
    first, broken, last = answer.json()["evaluations"]
    assert (first["decision"], broken["decision"], last["decision"]) == (True, False, True)
    assert broken["context"]["error"]["status"] == 400
    assert len(broken["context"]["error"]["message"]) > 10
    assert answer.headers["x-decision-ids"].split(",")[1] == "-"
    assert await decided(service, [item]) == [False]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}, {"options": {"colour": "red"}}], ids=str)
async def test_without_items_it_is_one_question(service, more):
    answer = await ask(service, question() | more)
    assert answer.json()["decision"] is True
    assert answer.json().keys() == {"decision", "context"}
    assert answer.headers["x-decision-id"] == answer.json()["context"]["id"]
    await ask(service, {"evaluations": []}, 400)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"options": {"evaluations_semantic": "some"}}, "options.evaluations_semantic"),
        ({"options": []}, "options"),
        ({"options": {"explain": "yes"}}, "options.explain"),
        ({"evaluations": {}}, "evaluations"),
        ({"evaluations": "all"}, "evaluations"),
        ({"evaluations": [US] * 101}, "evaluations: more than 100"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_wrong_with_the_whole_is_a_400(service, members, told):
    before = service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'")
    answer = await ask(service, question() | {"evaluations": [US]} | members, 400)
    assert answer.json()["detail"].startswith(told)
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == before


@pytest.mark.parametrize("explain", [True, False])
async def test_the_same_is_answered_with_the_same_bytes(service, explain):
    members = question() | {"evaluations": [US, NOBODY, 3], "options": {"explain": explain}}
    answers = [await ask(service, members) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("options", [{}, {"options": {}}, {"options": {"explain": False}}], ids=str)
async def test_an_item_is_its_decision_alone_unless_it_shall_be_explained(service, options):
    answer = await ask(service, question() | {"evaluations": [US, NOBODY]} | options)
    assert answer.json() == {"evaluations": [{"decision": True}, {"decision": False}]}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_reach_no_decision(service, method):
    answer = await service.client.request(method, PATH, headers=service.authorization(Role.COMPLIANCE))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(("members", "status"), [({"evaluations": [US, 3]}, 200), ({"evaluations": 3}, 400), ({}, 400)])
async def test_the_request_id_comes_back_on_errors_too(service, members, status):
    headers = {"X-Request-ID": "r-1"}
    answer = await service.client.post(PATH, json=members, headers=headers | service.authorization(Role.COMPLIANCE))
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "r-1")
    answer = await service.client.post(PATH, json=members, headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "r-1")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_unknown_members_are_ignored(service):
    more = {"colour": ["red", None]}
    item = {name: US["subject"] | more if name == "subject" else value for name, value in (US | more).items()}
    answer = await ask(service, question() | {"evaluations": [item], "options": more} | more)
    assert answer.json() == {"evaluations": [{"decision": True}]}


async def test_a_hundred_whole_questions_are_answered_and_each_has_its_entry(service):
    answer = await ask(service, {"evaluations": [question(), question("acme/nobody")] * 50})
    assert [item["decision"] for item in answer.json()["evaluations"]] == [True, False] * 50
    ids = answer.headers["x-decision-ids"].split(",")
    assert service.sql("SELECT count(*) FROM log_entries WHERE id::text = ANY (%s)", ids) == [(100,)]


async def test_a_hundred_new_people_get_their_seats_in_one_request(service):
    names = [f"new-{number}" for number in range(100)]
    await service.load(
        people=f"{PEOPLE}\n" + "".join(f"acme,{name},{REST}\n" for name in names),
        screenings="organization,person,status,screened_at\n"
        + "".join(f"acme,{name},clear,now-1h\n" for name in names),
        grants=PROGRAMME["grants"].replace("yes,yes,50", "yes,yes,500"),
    )
    items = [{"subject": {"type": "person", "id": f"acme/{name}"}} for name in names]
    assert await decided(service, items) == [True] * 100
    assert service.sql("SELECT count(*) FROM seats") == [(100,)]


async def test_what_one_item_cannot_record_is_answered_for_none(service):
    await ask(service, question() | {"evaluations": [US]})  # the seat is held
    service.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END'")
    service.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON log_entries FOR EACH ROW WHEN (mod(NEW.n, 3) = 0) EXECUTE FUNCTION refuse()"
    )
    answer = await ask(service, question() | {"evaluations": [US, US, US]}, 503)
    assert "evaluations" not in answer.json()


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
async def test_whoever_may_not_ask_is_told_nothing_of_the_body(service, role):
    for members in ({"evaluations": [3]}, {"evaluations": [US]}, {}):
        answer = await service.client.post(PATH, json=members, headers=service.authorization(role))
        assert answer.status_code == 403
        assert (await service.client.post(PATH, json=members)).status_code == 401


async def test_a_seat_is_claimed_once_by_all_items(service):
    assert await decided(service, [US] * 20) == [True] * 20
    assert service.sql("SELECT count(*) FROM seats") == [(1,)]
