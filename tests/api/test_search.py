"""The three searches (AuthZEN 1.0, section 8): who is found is who an evaluation would allow, page by page."""

import asyncio
import base64
import json
from functools import partial

import httpx
import pytest

from mythos_gate.api.tokens import Tokens
from mythos_gate.audit.log import Committer
from mythos_gate.decision import search as searching
from mythos_gate.errors import Invalid, NotRecorded
from mythos_gate.registry import callers
from mythos_gate.terms import Role
from tests.service import PROGRAMME, question

pytestmark = pytest.mark.anyio
KINDS = ["subject", "resource", "action"]
PEOPLE, FIRST = PROGRAMME["people"].splitlines()[:2]
REST = FIRST.removeprefix("acme,us,")
EVERYBODY = ["acme/ca", "acme/us"]


async def search(service, kind, members, status=200, headers=None):
    headers = headers or service.authorization(Role.COMPLIANCE)
    answer = await service.client.post(f"/access/v1/search/{kind}", json=members, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


async def found(service, kind, members, headers=None):
    """What one page finds, which is all."""
    told = (await search(service, kind, members, headers=headers)).json()
    assert told["page"] == {"next_token": ""}
    return sorted(each.get("id") or each["name"] for each in told["results"])


def without(name):
    return {member: value for member, value in question().items() if member != name}


async def enrol(service, names, rest=REST):
    """People who may all do the same as us."""
    await service.load(
        people=f"{PEOPLE}\n" + "".join(f"acme,{name},{rest}\n" for name in names),
        screenings="organization,person,status,screened_at\n"
        + "".join(f"acme,{name},clear,now-1h\n" for name in names),
    )


# --- what is found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        ("subject", question(), EVERYBODY),
        ("subject", question(country="DE"), EVERYBODY),
        ("subject", question(country="FR"), []),
        ("subject", question(version="6.0.0"), []),
        ("subject", question(kind="agent"), ["acme/bot"]),
        ("resource", question(), ["mythos-5"]),
        ("resource", question(version="6.0.0"), []),
        ("resource", question(kind="agent", subject="acme/bot"), ["mythos-5"]),
        ("action", question(), ["invoke"]),
        ("action", question(version="6.0.0"), []),
        ("action", question() | {"action": {"name": "read", "properties": {"capability": "exploit-writing"}}}, []),
        ("action", question() | {"action": {"properties": {"purpose": "defensive-own-systems"}}}, ["invoke"]),
        ("action", question() | {"action": {"properties": {"purpose": "attack"}}}, []),
        ("action", without("action"), ["invoke"]),
    ],
)
async def test_what_is_found(service, kind, members, expected):
    assert await found(service, kind, members) == expected


@pytest.mark.parametrize(
    ("kind", "strange"),
    [
        *((kind, {"resource": {"type": "record", "id": "mythos-5"}}) for kind in KINDS),
        ("subject", {"subject": {"type": "spaceship"}}),
        ("subject", {"resource": {"type": "model", "id": "mythos-9"}}),
        ("subject", {"action": question()["action"] | {"name": "read"}}),
        ("resource", {"subject": {"type": "spaceship", "id": "acme/us"}}),
        ("resource", {"subject": {"type": "person", "id": "acme/nobody"}}),
        ("resource", {"action": question()["action"] | {"name": "read"}}),
        ("action", {"subject": {"type": "agent", "id": "acme/us"}}),
        ("action", {"subject": {"type": "person", "id": "nowhere/us"}}),
        ("action", {"resource": {"type": "model", "id": "mythos-9"}}),
    ],
    ids=str,
)
async def test_what_is_unknown_finds_nothing(service, kind, strange):
    assert await found(service, kind, question() | strange) == []


async def test_a_search_answers_these_bytes(service):
    """The page first (8.2), and of each result its type and id in this order, or its name."""
    told = await search(service, "subject", question(kind="agent"))
    assert told.content == b'{"page":{"next_token":""},"results":[{"type":"agent","id":"acme/bot"}]}'
    told = await search(service, "resource", question())
    assert told.content == b'{"page":{"next_token":""},"results":[{"type":"model","id":"mythos-5"}]}'
    told = await search(service, "action", question())
    assert told.content == b'{"page":{"next_token":""},"results":[{"name":"invoke"}]}'
    assert told.headers["content-type"] == "application/json"


@pytest.mark.parametrize("identifier", ["acme/ca", "", 7, None, {"x": [1]}], ids=str)
async def test_the_identifier_that_is_searched_for_is_ignored(service, identifier):
    subject, resource = question()["subject"], question()["resource"]
    assert await found(service, "subject", question() | {"subject": subject | {"id": identifier}}) == EVERYBODY
    assert await found(service, "resource", question() | {"resource": resource | {"id": identifier}}) == ["mythos-5"]
    assert await found(service, "action", question() | {"action": {"name": identifier}}) == ["invoke"]
    assert await found(service, "action", question() | {"action": identifier}) == ["invoke"]


async def test_unknown_members_are_ignored(service):
    more = {"colour": "red", "page": {"limit": 10, "colour": "red", "properties": {"x": 1}}}
    members = question() | more
    for name in ("subject", "action", "resource", "context"):
        members[name] = members[name] | {"colour": ["red", None]}
    assert [await found(service, kind, members) for kind in KINDS] == [EVERYBODY, ["mythos-5"], ["invoke"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_decided_and_no_seat_claimed(service, kind):
    before = service.sql("SELECT n FROM revision")
    await search(service, kind, question())
    assert service.sql("SELECT n FROM revision") == before
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == [(0,)]
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


@pytest.mark.parametrize(("kind", "number"), [("subject", 2), ("resource", 1), ("action", 1)])
async def test_each_page_is_recorded_without_what_was_asked_and_found(service, kind, number):
    await search(service, kind, question())
    await search(service, kind, question() | {"page": {"limit": 0}})
    whole, none = [each["body"] for each in await service.entries() if each["body"]["type"] == "searched"]
    assert (whole["search"], whole["found"], whole["first"], whole["last"]) == (kind, number, True, True)
    assert (none["found"], none["first"], none["last"]) == (0, True, False)
    assert whole["caller"] == none["caller"] != None  # noqa: E711
    assert whole["question"] == none["question"]
    assert whole["results"] != none["results"]
    said = json.dumps(whole)
    assert not [name for name in ("acme", "mythos-5", "vuln-discovery", "ep-1", "us") if f'"{name}' in said]


async def test_what_cannot_be_recorded_is_not_told(service, monkeypatch):
    async def failing(*_):
        raise NotRecorded("no")

    monkeypatch.setattr(Committer, "commit", failing)
    for kind in KINDS:
        await search(service, kind, question(), 503)


async def test_who_may_not_search_leaves_no_entry(service):
    await search(service, "subject", question(), 403, service.authorization(Role.AUDITOR))
    assert [each["body"] for each in await service.entries() if each["body"]["type"] == "searched"] == []


async def test_whoever_could_claim_the_last_seat_is_found_until_somebody_has_it(service):
    await service.load(grants=PROGRAMME["grants"].replace("yes,yes,50", "yes,yes,1"))
    assert await found(service, "subject", question()) == EVERYBODY
    assert (await service.ask(question("acme/ca"))).json()["decision"] is True
    assert await found(service, "subject", question()) == ["acme/ca"]
    assert await found(service, "resource", question()) == []


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, [EVERYBODY, ["mythos-5"], ["invoke"]]),
        ({"organizations": ["acme"]}, [EVERYBODY, ["mythos-5"], ["invoke"]]),
        ({"organizations": ["other"]}, [[], [], []]),
        ({"models": ["mythos-4"]}, [[], [], []]),
        ({"models": ["mythos-4", "mythos-5"], "organizations": ["other", "acme"]}, [EVERYBODY, ["mythos-5"], ["invoke"]]),
    ],
    ids=str,
)  # fmt: skip
async def test_what_a_caller_may_not_ask_about_is_not_found(service, scope, expected):
    await service.load(models="model,authority,name,versions,capabilities\nmythos-4,orrery,M 4,4.0,vuln-discovery\n")
    headers = await service.key(Role.GATEWAY, **scope)
    assert [await found(service, kind, question(), headers) for kind in KINDS] == expected


async def test_who_may_not_be_asked_about_takes_no_place_on_a_page(service, monkeypatch):
    """Otherwise empty pages would tell how many others there are."""
    monkeypatch.setattr(searching, "MOST", searching.CHUNK)
    await enrol(service, [f"new-{number}" for number in range(150)])
    headers = await service.key(Role.GATEWAY, organizations=["other"])
    assert await found(service, "subject", question(), headers) == []


# --- pages ---------------------------------------------------------------------------------------------------------


async def pages(service, kind, members, headers=None, most=50):
    """Each page until the last one, each asked for twice."""
    told, token = [], None
    while token != "":
        page = members.get("page", {}) | ({} if token is None else {"token": token})
        answers = [await search(service, kind, members | {"page": page}, headers=headers) for _ in range(2)]
        assert answers[0].content == answers[1].content
        told.append(answers[0].json())
        token = told[-1]["page"]["next_token"]
        assert len(told) < most
    return told


@pytest.mark.parametrize("limit", [1, 3, 4, 13, 14, 100, 10**9, None])
async def test_pages_together_are_everybody_once_and_in_one_order(service, limit):
    await enrol(service, [f"new-{number}" for number in range(11)])
    await service.load(people=f"{PEOPLE}\nacme,left,ended{REST.removeprefix('employee')}\n")
    everybody = (await pages(service, "subject", question()))[0]["results"]
    assert len(everybody) == 13
    page = {} if limit is None else {"page": {"limit": limit}}
    told = await pages(service, "subject", question() | page)
    assert [each for one in told for each in one["results"]] == everybody
    sizes = [len(one["results"]) for one in told]
    assert sizes == [limit] * (13 // limit) + [13 % limit] * (13 % limit > 0) if limit and limit < 13 else [13]


async def test_a_page_of_nothing_says_that_there_is_more(service):
    told = (await search(service, "subject", question() | {"page": {"limit": 0}})).json()
    assert told["results"] == []
    token = told["page"]["next_token"]
    again = await search(service, "subject", question() | {"page": {"limit": 0, "token": token}})
    assert again.json()["page"]["next_token"] == token
    # Without the limit it goes on, and comes to an end.
    rest = (await search(service, "subject", question() | {"page": {"token": token}})).json()
    assert (rest["page"]["next_token"], sorted(each["id"] for each in rest["results"])) == ("", EVERYBODY)
    assert await found(service, "subject", question(version="6.0.0") | {"page": {"limit": 0}}) == []


async def test_a_page_looks_at_a_bounded_number_of_people(service, monkeypatch):
    """So it may be empty, and not the last."""
    monkeypatch.setattr(searching, "MOST", searching.CHUNK)
    looked = []
    real = searching.judge

    async def judge(source, requests):
        looked.append(len(requests))
        return await real(source, requests)

    monkeypatch.setattr(searching, "judge", judge)
    await enrol(service, [f"new-{number}" for number in range(230)], REST.replace("yes,citizen", "unknown,"))
    told = await pages(service, "subject", question())
    assert [bool(one["page"]["next_token"]) for one in told] == [True, True, False]
    assert looked == [100, 100, 100, 100, 32, 32]
    assert sorted(each["id"] for one in told for each in one["results"]) == EVERYBODY
    for unknown in ({"resource": {"type": "model", "id": "mythos-9"}}, {"action": {"name": "read"}}):
        assert await found(service, "subject", question() | unknown) == []  # nobody is looked at
    assert sum(looked) == 2 * 232


async def test_models_have_pages_too(service):
    rows = "".join(f"mythos-{n},orrery,M {n},5.0;5.1,vuln-discovery\n" for n in (6, 7))
    await service.load(
        models=f"model,authority,name,versions,capabilities\n{rows}",
        grants=PROGRAMME["grants"].replace("mythos-5", "mythos-6").replace("-1,acme", "-6,acme"),
    )
    told = await pages(service, "resource", question() | {"page": {"limit": 1}})
    assert [one["results"] for one in told] == [[{"type": "model", "id": f"mythos-{n}"}] for n in (5, 6)]


async def begun(service, **members):
    """The first page's request, and its token."""
    members = question() | {"page": {"limit": 1}} | members
    token = (await search(service, "subject", members)).json()["page"]["next_token"]
    assert token
    return members, token


async def follow(service, members, token, status=200, kind="subject", **page):
    return await search(service, kind, members | {"page": {"token": token} | page}, status)


async def test_a_limit_may_be_left_out_on_the_next_page_and_is_then_the_same(service):
    await enrol(service, [f"new-{number}" for number in range(5)])
    members, token = await begun(service)
    told = await follow(service, members, token)
    assert told.content == (await follow(service, members, token, limit=1)).content
    assert len(told.json()["results"]) == 1


@pytest.mark.parametrize("limit", [0, 2, 10**9])
async def test_another_limit_is_told(service, limit):
    members, token = await begun(service)
    told = (await follow(service, members, token, 400, limit=limit)).json()["detail"]
    assert told.startswith("page.limit: ")


CHANGED = [
    {"subject": {"type": "agent"}},
    {"subject": {"type": "person", "properties": {"x": 1}}},
    {"action": question()["action"] | {"name": "read"}},
    {"action": {"name": "invoke"}},
    {"resource": question()["resource"] | {"id": "mythos-6"}},
    {"resource": question(version="5.0.0")["resource"]},
    {"context": question(country="DE")["context"]},
    {"context": question()["context"] | {"note": "x"}},
    {"context": {}},
]


@pytest.mark.parametrize("change", CHANGED, ids=str)
async def test_another_question_with_the_same_token_is_told(service, change):
    members, token = await begun(service)
    assert (await follow(service, members | change, token, 400)).json()["detail"].startswith("page.token: ")


async def test_a_token_of_one_search_opens_no_other(service):
    members, token = await begun(service)
    for kind in ("resource", "action"):
        await follow(service, members, token, 400, kind)


async def test_what_does_not_count_may_change_between_pages(service):
    members, token = await begun(service)
    changed = members | {"subject": {"id": "acme/ca", "type": "person", "colour": 1}, "colour": "red"}
    assert (await follow(service, changed, token)).content == (await follow(service, members, token)).content


async def test_every_changed_character_of_a_token_is_told(service):
    members, token = await begun(service)
    spoiled = {token[:place] + other + token[place + 1 :] for place in range(len(token)) for other in "Aa.=é"} - {token}
    spoiled |= {"", ".", "x", token + "A", token + "=", token[:-1], token.split(".")[0], "." + token, token.upper()}
    assert len(spoiled) > 400
    for each in spoiled:
        assert (await follow(service, members, each, 400)).json()["detail"].startswith("page.token: "), each


async def test_a_token_names_nobody(service):
    _, token = await begun(service)
    held = token.partition(".")[0]
    [place, limit] = json.loads(base64.urlsafe_b64decode(held + "=" * (-len(held) % 4)))
    assert (place,) in service.sql("SELECT id FROM people")
    assert limit == 1


async def test_a_token_is_good_at_every_process_with_the_same_key_and_at_no_other():
    one, same, other = Tokens(b"k" * 32), Tokens(b"k" * 32), Tokens(b"j" * 32)
    token = one.seal("per_1", 5, {"kind": "subject"})
    assert same.open(token, None, {"kind": "subject"}) == ("per_1", 5)
    with pytest.raises(Invalid):
        other.open(token, None, {"kind": "subject"})


# --- what cannot be read, and who may not ask ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "page",
    [[], "next", 3, {"limit": -1}, {"limit": "5"}, {"limit": 1.5}, {"limit": True}, {"token": 3}, {"token": "x" * 2000}],
    ids=str,
)  # fmt: skip
async def test_a_page_that_cannot_be_read_is_told(service, kind, page):
    told = (await search(service, kind, question() | {"page": page}, 400)).json()["detail"]
    assert told.startswith("page")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        *((kind, without(name)) for kind in KINDS for name in ("subject", "resource")),
        ("subject", without("action")),
        ("resource", without("action")),
        ("subject", question() | {"action": "invoke"}),
        ("subject", question() | {"action": {}}),
        ("subject", question() | {"subject": {}}),
        ("subject", question() | {"resource": {"type": "model"}}),
        ("resource", question() | {"resource": {}}),
        ("resource", question() | {"subject": {"type": "person"}}),
        ("action", question() | {"subject": {"type": "person"}}),
        ("action", question() | {"resource": {"type": "model"}}),
        ("action", question() | {"resource": {"id": "mythos-5"}}),
        ("action", question() | {"action": {"properties": {"capability": 3}}}),
        *((kind, question() | {"context": []}) for kind in KINDS),
    ],
    ids=str,
)
async def test_what_is_missing_or_wrong_is_told(service, kind, members):
    assert len((await search(service, kind, members, 400)).json()["detail"]) > 10


@pytest.mark.parametrize("kind", KINDS)
async def test_whoever_may_not_ask_is_told_nothing_of_the_body(service, kind):
    for members in (question(), {}, {"page": 3}):
        await search(service, kind, members, 403, service.authorization(Role.AUDITOR))
        answer = await search(service, kind, members, 401, {"X-Request-ID": "r-1"})
        assert (answer.headers["www-authenticate"], answer.headers["x-request-id"]) == ("Bearer", "r-1")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_request_id_comes_back_on_errors_too(service, kind):
    headers = service.authorization(Role.COMPLIANCE) | {"X-Request-ID": "r-1"}
    for members, status in ((question(), 200), ({}, 400)):
        assert (await search(service, kind, members, status, headers)).headers["x-request-id"] == "r-1"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_search_nothing(service, kind, method):
    headers = service.authorization(Role.COMPLIANCE)
    answer = await service.client.request(method, f"/access/v1/search/{kind}", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# --- a change in between -------------------------------------------------------------------------------------------


@pytest.fixture
def between(monkeypatch):
    """Do this after a page was read and before it is answered, so many times; how often a page was read."""

    def arrange(change, times=1):
        real, read = searching.page, []

        async def page(*values):
            answered = await real(*values)
            read.append(answered)
            if len(read) <= times:
                answer = await change()
                assert not isinstance(answer, httpx.Response) or answer.is_success, answer.text
            return answered

        monkeypatch.setattr(searching, "page", page)
        return read

    return arrange


async def test_a_suspension_in_between_is_seen(service, between):
    between(partial(service.post, "/v1/people/acme/us/suspend"))
    assert await found(service, "subject", question()) == ["acme/ca"]


async def test_who_becomes_allowed_in_between_is_seen(service, between):
    agents = PROGRAMME["agents"]
    await service.load(agents=agents.replace("now+1d", "now-1d"))
    between(partial(service.load, agents=agents))
    assert await found(service, "subject", question(kind="agent")) == ["acme/bot"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_in_between_is_seen(service, between, kind):
    stop = {"scope": "model", "target": "mythos-5", "incident": "I-1"}
    between(partial(service.post, "/v1/stops", json=stop))
    assert await found(service, kind, question()) == []


async def test_a_change_of_somebody_else_makes_no_second_search(service, between):
    read = between(partial(service.post, "/v1/people/acme/ca/suspend"))
    assert await found(service, "resource", question()) == ["mythos-5"]
    assert len(read) == 1


async def test_a_key_revoked_in_between_is_401(service, between):
    headers = await service.key(Role.COMPLIANCE)
    identifier = headers["Authorization"].split("_")[1]

    async def revoke():
        async with service.gate.registry.change("key_revoked", "test") as change:
            await callers.revoke_key(change, identifier)

    between(revoke)
    await search(service, "subject", question(version="6.0.0"), 401, headers)


async def test_records_that_keep_changing_give_no_answer(service, between):
    names = iter("abcdef")

    async def rename():
        await service.load(models=PROGRAMME["models"].replace("Mythos 5", next(names)))

    read = between(rename, times=9)
    answer = await search(service, "subject", question(), 503)
    assert answer.json()["detail"].startswith("the records kept changing")
    assert len(read) == 3


async def test_a_search_that_takes_too_long_gives_no_answer(service, monkeypatch):
    real = searching.judge

    async def judge(*values):
        answered = await real(*values)
        clock = asyncio.get_running_loop().time
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + 60)
        return answered

    monkeypatch.setattr(searching, "judge", judge)
    answer = await search(service, "subject", question(), 503)
    monkeypatch.undo()
    assert answer.headers["retry-after"] == "1"


async def test_a_process_that_was_stopped_before_the_answer_gives_none(service, monkeypatch):
    class Stopped(asyncio.Semaphore):
        async def __aexit__(self, *values):
            await super().__aexit__(*values)
            clock = asyncio.get_running_loop().time
            monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + 60)

    monkeypatch.setattr(service.gate.pdp, "_searches", Stopped(1))
    answer = await search(service, "subject", question(), 503)
    monkeypatch.undo()
    assert answer.json()["detail"].startswith("the deadline passed")
