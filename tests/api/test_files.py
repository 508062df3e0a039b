"""Files that one officer asks to import are in force when another approves them, as they were when it was asked."""

import json
from datetime import timedelta
from hashlib import sha256

import pytest

from mythos_gate import request_commands
from mythos_gate.errors import Invalid, NotPermitted, TooLarge
from mythos_gate.registry import files
from mythos_gate.registry.kind import InvalidFile
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction, Role
from tests.api.test_resources import Rest, officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = pytest.mark.anyio
LIMIT = 2**20
COUNTRY = "Utopia"
PEOPLE = f"""organization,external_id,employment,name,us_person,citizenships
acme,us,employee,New Name,yes,
acme,kim,employee,Kim Farlow,no,{COUNTRY}@1977-07-07
"""
# The second file names who is in the first.
FILES = {"people": PEOPLE, "screenings": "organization,person,status\nacme,kim,pending\nacme,us,pending\n"}
COUNTS = {
    "people": {"created": 1, "updated": 1, "unchanged": 0},
    "screenings": {"created": 1, "updated": 1, "unchanged": 0},
}


async def asked(service, rest, given=FILES):
    apart = files.apart([(kind, text.encode()) for kind, text in given.items()], LIMIT)
    wanted = Wanted(RequestedAction.IMPORT, "files", members={"kinds": list(given)}, apart=apart)
    return await request_commands.made(service.gate.registry, rest.headers["Authorization"][7:], wanted)


def names(service):
    return service.sql("SELECT external_id, name FROM people WHERE external_id IN ('us', 'kim') ORDER BY 1")


async def test_files_are_in_force_when_another_officer_approves_them_and_not_before(service, officer, second):  # noqa: F811
    before = names(service)
    made = await asked(service, officer)
    assert (made["before"], made["after"], made["members"]) == ({}, COUNTS, {"kinds": ["people", "screenings"]})
    assert names(service) == before
    own = await officer.approve(made["id"])
    assert (own.status_code, own.json()["code"]) == (403, "SELF_APPROVAL_FORBIDDEN")
    assert (await second("POST", f"change-requests/{made['id']}/approve", {"sha256": "0" * 64})).status_code == 412
    assert names(service) == before
    assert (await service.ask(question())).json()["decision"]
    done = await second.approve(made["id"])
    assert (done.status_code, done.json()["state"]) == (200, "approved"), done.text
    assert names(service) == [("kim", "Kim Farlow"), ("us", "New Name")]
    assert not (await service.ask(question())).json()["decision"]
    entries = [item["body"] for item in await service.entries() if "request_sha256" in item["body"]]
    people = dict(service.sql("SELECT external_id, id FROM people"))
    both = sorted([people["us"], people["kim"]])
    assert [(each["type"], each["kind"], each["created"], each["updated"], each["records"]) for each in entries] == [
        ("imported", kind, 1, 1, both) for kind in FILES
    ]
    assert [[each["person"] for each in entry.get("nationality", [])] for entry in entries] == [[people["kim"]], []]
    for entry in entries:
        assert (entry["change_request"], entry["requested_by"]) == (made["id"], made["requested_by"])
        assert entry["actor"] == done.json()["decided_by"] != made["requested_by"]
    assert (await second.approve(made["id"])).status_code == 409
    assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]


@pytest.mark.parametrize(
    "between",
    [{"people": "organization,external_id,employment,email\nacme,us,employee,us@acme.example\n"},
     {"people": "organization,external_id,employment,name\nacme,us,employee,Another Name\n"},
     {"people": "organization,external_id,employment\nacme,kim,employee\n"},
     {"people": "organization,external_id,employment,us_person,us_basis\nacme,us,employee,yes,lpr\n"},
     {"screenings": "organization,person,status,list_version\nacme,us,clear,77\n"}],
    ids=["what the file does not name", "what it does", "somebody is there", "their assessment", "of another file"],
)  # fmt: skip
async def test_what_the_files_speak_of_has_to_be_as_it_was(service, officer, second, between):  # noqa: F811
    made = await asked(service, officer)
    await service.load(**between)
    before = names(service)
    refused = await second.approve(made["id"])
    assert (refused.status_code, "changed since" in refused.text) == (412, True), refused.text
    assert names(service) == before
    again = await asked(service, officer)
    assert (await second.approve(again["id"])).status_code == 200


async def test_a_name_has_to_stand_for_whom_it_stood_for(service, officer, second):  # noqa: F811
    made = await asked(service, officer, {"agents": "organization,external_id,sponsor,scopes\nacme,new,ca,x\n"})
    service.sql("UPDATE people SET external_id = 'gone' WHERE external_id = 'ca'; UPDATE touched SET n = 0")
    await service.load(people="organization,external_id,employment\nacme,ca,employee\n")
    assert (await second.approve(made["id"])).status_code == 412
    assert service.sql("SELECT count(*) FROM agents WHERE external_id = 'new'") == [(0,)]


async def test_what_others_change_beside_it_does_not_matter(service, officer, second):  # noqa: F811
    made = await asked(service, officer)
    await service.load(people="organization,external_id,employment,name\nacme,ca,employee,Somebody Else\n")
    assert (await second.approve(made["id"])).status_code == 200


@pytest.mark.parametrize(
    "about",
    [{"people": "organization,external_id,employment,name\nacme,us,employee,New Name\n"},
     {"screenings": "organization,person,status,screened_at\nacme,us,clear,2026-01-01\n"},
     {"agents": "organization,external_id,sponsor,scopes\nacme,new,us,x\n"},
     {"people": "organization,external_id,employment,us_person,us_basis\nacme,us,employee,yes,lpr\n"}],
    ids=["people", "screenings", "agents", "assessment"],
)  # fmt: skip
async def test_nobody_approves_files_about_themselves(service, officer, second, about):  # noqa: F811
    concerned = Rest(service, await service.key(Role.COMPLIANCE, person="acme/us"))
    made = await asked(service, officer, about)
    refused = await concerned.approve(made["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "SELF_APPROVAL_FORBIDDEN")
    assert (await second.approve(made["id"])).status_code == 200
    # A file that has a line about them and changes nothing of theirs is like any other.
    same = await asked(service, officer, about)
    assert (await concerned.approve(same["id"])).status_code == 200


@pytest.mark.parametrize("decided", ["approve", "reject", "withdraw"])
async def test_nationality_stands_in_no_request_and_not_in_the_log(service, officer, second, decided):  # noqa: F811
    made = await asked(service, officer)
    ((kept,),) = service.sql("SELECT members FROM change_request_contents")
    assert COUNTRY in kept["members"]["files"][0]["text"]
    shown = [await rest("GET", f"change-requests/{made['id']}") for rest in (officer, second)]
    shown.append(await service.get("/v1/change-requests"))
    if decided == "approve":
        shown.append(await second.approve(made["id"]))
    else:
        rest = second if decided == "reject" else officer
        reason = {"reason": "no"} if decided == "reject" else None
        shown.append(await rest("POST", f"change-requests/{made['id']}/{decided}", reason))
    entries = await service.entries()
    assert any(item["body"]["type"] == "change_requested" for item in entries)
    # Nor what could be tried: nothing that is public has the hash of a file, or the salt.
    guesses = [sha256(text.encode()).hexdigest() for text in FILES.values()]
    for told in [*(each.text for each in shown), json.dumps(entries)]:
        for secret in (COUNTRY, "UNKNOWN", "1977-07-07", "Kim Farlow", kept["salt"], kept["standing"], *guesses):
            assert secret not in told
    assert [each.status_code for each in shown] == [200] * 4
    assert service.sql("SELECT count(*) FROM change_request_contents") == [(0,)]


async def test_what_nobody_decided_in_time_keeps_nothing_apart(service, officer, second):  # noqa: F811
    made = await asked(service, officer)
    service.sql("UPDATE change_requests SET expires_at = now() - interval '1 second'")
    assert (await second.approve(made["id"])).status_code == 409
    again = await asked(service, officer)
    assert service.sql("SELECT change_request_id FROM change_request_contents") == [(again["id"],)]


async def test_contents_that_were_altered_are_not_what_was_approved(service, officer, second):  # noqa: F811
    made = await asked(service, officer)
    service.sql("UPDATE change_request_contents SET members = replace(members::text, 'New Name', 'Old Name')::jsonb")
    assert (await second.approve(made["id"])).status_code == 412
    assert ("us", "Old Name") not in names(service)


@pytest.mark.parametrize("role", set(Role) - {Role.COMPLIANCE, Role.SCIM}, ids=str)
async def test_only_compliance_asks_for_an_import_and_approves_it(service, officer, role):  # noqa: F811
    scope = {Role.OFFICER: {"authority": "orrery"}, Role.ORG_ADMIN: {"organization": "acme"}}.get(role, {})
    rest = Rest(service, await service.key(role, **{"person": "acme/ca"} | scope))
    with pytest.raises(NotPermitted):
        await asked(service, rest)
    made = await asked(service, officer)
    answer = await rest("POST", f"change-requests/{made['id']}/approve", {"sha256": made["sha256"]})
    assert answer.status_code in {403, 404}
    assert ("kim", "Kim Farlow") not in names(service)


async def test_what_cannot_be_imported_is_told_to_who_asks(service, officer):  # noqa: F811
    for given, why in (
        ({"people": "organization,external_id,employment\nnowhere,x,employee\n"}, "is no organization on record"),
        ({"people": "organization,external_id,employment,review_due\nacme,x,employee,now+1d\n"}, "relative time"),
    ):
        with pytest.raises(InvalidFile, match=why):
            await asked(service, officer, given)
    assert service.sql("SELECT count(*) FROM change_requests") == [(0,)]


@pytest.mark.parametrize(
    ("given", "refused", "why"),
    [([("people", b"x" * 6), ("agents", b"x" * 5)], TooLarge, "have 11 bytes, and one request takes 10 at most"),
     ([("persons", b"x")], Invalid, "is no kind of file"),
     ([("people", b"\xff")], InvalidFile, "is not UTF-8"),
     ([("people", b"abcdef\0")], InvalidFile, r"U\+0000")],
    ids=["too large", "no kind", "not UTF-8", "U+0000"],
)  # fmt: skip
async def test_what_a_request_does_not_hold(given, refused, why):
    with pytest.raises(refused, match=why):
        files.apart(given, 10)


async def test_a_spreadsheets_utf_16_is_text_like_any_other():
    apart = files.apart([("people", PEOPLE.encode("utf-16"))], LIMIT)
    assert apart == {"files": [{"kind": "people", "text": PEOPLE}]}


async def test_a_file_rests_on_no_clock(service, officer, second):  # noqa: F811
    """A stop that is lifted has the time of it: not that of the trial."""
    stop = "scope,target,incident,lifted\nperson,acme/ca,I-1,{}\n"
    await service.load(stops=stop.format("no"))
    made = await asked(service, officer, {"stops": stop.format("yes")})
    assert (await second.approve(made["id"])).status_code == 200
    assert service.sql("SELECT lifted_at > %s FROM stops", service.now - timedelta(minutes=1)) == [(True,)]
