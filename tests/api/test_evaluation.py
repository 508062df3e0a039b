"""The decision over HTTP: what a PEP, a compliance officer and an auditor see."""

import asyncio
import base64
import hmac
import json
from datetime import timedelta

import pytest

from mythos_gate.authn import api_keys
from mythos_gate.registry import callers, seats
from mythos_gate.terms import Role
from tests.service import DIGEST_KEY, PROGRAMME, Service, question

pytestmark = pytest.mark.anyio


async def test_an_allowed_person_gets_an_answer_with_its_id_and_its_entry(service):
    answer = await service.ask(question("acme/us"), **{"X-Request-ID": "7f3c"})
    assert answer.status_code == 200
    said = answer.json()
    assert said["decision"] is True
    assert said["context"]["outcome"] == "allow"
    assert said["context"]["reason_user"] == {"code": "OK", "message": "Access is granted."}
    assert answer.headers["x-decision-id"] == said["context"]["id"]
    assert answer.headers["x-request-id"] == "7f3c"
    entry = (await service.get(f"/v1/decisions/{said['context']['id']}")).json()
    assert entry["outcome"] == "allow"
    assert entry["facts"] == said["context"]["reason_admin"]["facts"]
    assert entry["rows"] == ["both-authorities", "us-person-at-home"]


async def test_a_gateway_sees_the_safe_reason_alone(service):
    said = (await service.ask(question("acme/ca", country="IR"), Role.GATEWAY)).json()
    assert {"id", "outcome", "evaluated_at", "policy_revision", "reason_user"} == set(said["context"])
    assert said["context"]["reason_user"]["code"] == "LOCATION_NOT_PERMITTED"


async def test_a_gateway_reads_its_own_decision_without_facts_and_nobody_elses(service):
    own = (await service.ask(question("acme/ca"), Role.GATEWAY)).json()["context"]["id"]
    other = (await service.ask(question("acme/ca"), Role.COMPLIANCE)).json()["context"]["id"]
    shown = (await service.get(f"/v1/decisions/{own}", Role.GATEWAY)).json()
    assert {"id", "at", "outcome", "policy_revision", "reason_user"} == set(shown)
    assert (await service.get(f"/v1/decisions/{other}", Role.GATEWAY)).status_code == 404


async def test_an_entry_that_is_no_decision_is_not_shown_as_one(service):
    change = (await service.entries())[0]
    assert (await service.get(f"/v1/decisions/{change['body']['id']}")).status_code == 404


async def test_a_person_and_an_endpoint_are_found_by_the_gates_own_ids_too(service):
    ((person,),) = service.sql("SELECT id FROM people WHERE external_id = 'ca'")
    ((endpoint,),) = service.sql("SELECT id FROM endpoints WHERE external_id = 'ep-1'")
    said = (await service.ask(question(person, endpoint=endpoint, country="DE"))).json()
    assert said["decision"] is True


@pytest.mark.parametrize("endpoint", ["ep-2", "other/ep-2", None, "nowhere/ep-1", "", "/"], ids=repr)
async def test_any_other_endpoint_denies(service, endpoint):
    said = (await service.ask(question(endpoint=endpoint))).json()
    expected = "ENDPOINT_ORG_MISMATCH" if endpoint == "other/ep-2" else "ENDPOINT_NOT_REGISTERED"
    assert said["context"]["reason_admin"]["primary"] == expected


async def test_an_agent_has_its_sponsors_facts(service):
    asked = question("acme/bot", kind="agent")
    assert (await service.ask(asked)).json()["decision"] is True
    await service.post("/v1/people/acme/us/suspend")
    said = (await service.ask(asked)).json()["context"]
    assert said["reason_admin"]["codes"] == ["AGENT_SPONSOR_DENIED"]
    assert said["reason_admin"]["cause"] == ["PERSON_SUSPENDED"]
    assert said["reason_user"]["code"] == "AGENT_DENIED"


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("person", "acme/nobody"),
        ("person", "nowhere/us"),
        ("person", "us"),
        ("person", "per_0"),
        ("agent", "acme/us"),
        ("robot", "acme/us"),
        ("person", ""),
    ],
)
async def test_an_unknown_subject_is_denied_and_its_name_is_not_logged(service, kind, subject):
    said = (await service.ask(question(subject, kind=kind))).json()
    assert said["context"]["reason_admin"]["codes"] == ["SUBJECT_UNKNOWN"]
    entry = (await service.get(f"/v1/decisions/{said['context']['id']}")).json()
    assert {"type", "digest"} == set(entry["subject"])


@pytest.mark.parametrize(
    "change",
    [{"action": {"name": "delete", "properties": {"capability": "vuln-discovery", "purpose": "defensive-own-systems"}}},
     {"action": {"name": "invoke"}}],
    ids=["another action", "no capability"],
)  # fmt: skip
async def test_an_action_that_no_grant_speaks_of_is_denied(service, change):
    said = (await service.ask(question() | change)).json()
    assert said["context"]["reason_admin"]["primary"] == "CAPABILITY_OUT_OF_SCOPE"


@pytest.mark.parametrize(
    ("scope", "subject", "known"),
    [
        ({"organizations": ["acme"]}, "acme/us", True),
        ({"organizations": ["other"]}, "acme/us", False),
        ({"models": ["mythos-5"]}, "acme/us", True),
        ({"models": ["mythos-4"]}, "acme/us", False),
        ({"organizations": ["acme"], "models": ["mythos-4"]}, "acme/us", False),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["person", "agent"])
async def test_what_a_gateway_may_not_ask_about_is_not_on_record_for_it(service, scope, subject, known, kind):
    await service.load(models="model,authority,name,versions,capabilities\nmythos-4,orrery,M 4,4.0,vuln-discovery\n")
    key = await service.key(Role.GATEWAY, **scope)
    asked = question("acme/bot" if kind == "agent" else subject, kind=kind)
    said = (await service.ask(asked, **key)).json()
    assert said["decision"] is known
    facts = (await service.get(f"/v1/decisions/{said['context']['id']}")).json()["facts"]
    assert (facts["subject"] == kind) is known


@pytest.mark.parametrize(
    "resource", [{"type": "model", "id": "mythos-6"}, {"type": "dataset", "id": "mythos-5"}], ids=["model", "type"]
)
async def test_an_unknown_resource_is_denied(service, resource):
    said = (await service.ask(question() | {"resource": resource})).json()
    assert said["context"]["reason_admin"]["primary"] == "ORG_NOT_AUTHORIZED"


async def test_free_text_of_the_caller_enters_the_log_as_digests(service):
    asked = question(kind="Jane", endpoint="Roe", break_glass="Jane", note="Jane Roe, born 1970")
    asked["action"] = {"name": "Jane", "properties": {"capability": "Roe", "purpose": "for Jane Roe"}}
    asked["resource"] = {"type": "Jane", "id": "Roe", "properties": {"version": "5.1 Jane"}}
    await service.ask(asked, **{"X-Request-ID": "jane-roe-1"})
    ((body,),) = service.sql("SELECT body FROM log_entries WHERE type = 'decision'")
    assert b"roe" not in body.lower()
    assert b"jane" not in body.lower()


async def test_an_entry_holds_what_its_decision_rests_on(service):
    answer = (await service.ask(question("acme/bot", kind="agent"))).json()["context"]
    entry = (await service.get(f"/v1/decisions/{answer['id']}")).json()
    ((organization, person, agent, endpoint, caller),) = service.sql(
        "SELECT o.id, p.id, a.id, e.id, c.id FROM organizations o JOIN people p ON p.organization_id = o.id"
        " JOIN agents a ON a.sponsor_id = p.id JOIN endpoints e ON e.organization_id = o.id, callers c"
        " WHERE c.name = 'test compliance'"
    )
    ((number, sha256, data_set),) = service.sql(
        "SELECT policy_revision, sha256, data_set_id FROM programme JOIN policy_revisions ON number = policy_revision"
    )
    assert entry["caller"] == {"id": caller, "key": service.keys[Role.COMPLIANCE].split("_")[1]}
    assert entry["subject"] == {"type": "agent", "id": agent, "person": person}
    assert entry["organization"] == organization
    assert entry["action"] == {"name": "invoke", "capability": "vuln-discovery", "purpose": "defensive-own-systems"}
    assert entry["resource"] == {"type": "model", "id": "mythos-5", "version": "5.1.0", "endpoint": endpoint}
    assert entry["policy"] == {"revision": number, "sha256": sha256}
    assert entry["data_set"] == data_set


@pytest.mark.parametrize(
    ("kind", "reasons", "cause"),
    [
        ("person", ["TRAINING_EXPIRED", "ACCESS_REVIEW_OVERDUE"], []),
        ("agent", ["AGENT_SPONSOR_DENIED"], ["TRAINING_EXPIRED", "ACCESS_REVIEW_OVERDUE"]),
    ],
)
async def test_an_entry_holds_every_code_and_its_cause(service, kind, reasons, cause):
    await service.load(
        people="organization,external_id,employment,training_expires,review_due\nacme,us,employee,now-1d,now-1d\n"
    )
    said = (await service.ask(question("acme/us" if kind == "person" else "acme/bot", kind=kind))).json()["context"]
    entry = (await service.get(f"/v1/decisions/{said['id']}")).json()
    assert (entry["reasons"], entry["cause"]) == (reasons, cause)


async def test_digests_are_keyed_and_salts_are_never_the_same(service):
    asked = question()
    entries = []
    for _ in range(2):
        said = (await service.ask(asked)).json()["context"]
        entries.append((await service.get(f"/v1/decisions/{said['id']}")).json())
    canonical = json.dumps(asked["context"], sort_keys=True, separators=(",", ":")).encode()
    digest = hmac.digest(DIGEST_KEY.encode(), canonical, "sha256").hex()
    assert [entry["context"] for entry in entries] == [digest, digest]
    assert len({entry["salt"] for entry in entries}) == 2
    assert {len(entry["salt"]) for entry in entries} == {32}


async def test_a_break_glass_that_passes_something_over_is_told_as_such(service):
    await service.load(
        people="organization,external_id,employment,training_expires\nacme,us,employee,now-1d\n",
        break_glass="organization,incident,opened_by,approvers,opened,expires\nacme,I-1,o,a1;a2,now-1h,now+1h\n",
    )
    assert (await service.ask(question())).json()["decision"] is False
    said = (await service.ask(question(break_glass="acme/I-1"))).json()
    assert (said["decision"], said["context"]["outcome"]) == (True, "allow_break_glass")
    assert said["context"]["reason_admin"]["bypassed"] == ["TRAINING_EXPIRED"]
    entry = (await service.get(f"/v1/decisions/{said['context']['id']}")).json()
    assert (entry["outcome"], entry["bypassed"]) == ("allow_break_glass", ["TRAINING_EXPIRED"])


@pytest.mark.parametrize("seconds", [-6, 6])
async def test_a_process_whose_clock_is_off_denies(service, tmp_path, seconds):
    async with Service.running(service.database, tmp_path / "second", skew=timedelta(seconds=seconds)) as off:
        off.keys = service.keys
        said = (await off.ask(question())).json()["context"]["reason_admin"]
    assert (said["facts"]["integrity"], said["primary"]) == ("clock_untrusted", "CLOCK_UNTRUSTED")


async def test_another_organizations_grants_and_screening_do_not_count(service):
    await service.load(
        people="organization,external_id,employment\nother,x,employee\n",
        screenings="organization,person,status,screened_at\nother,,true_match,now-1h\n",
    )
    assert (await service.ask(question())).json()["decision"] is True
    said = (await service.ask(question("other/x", endpoint="other/ep-2"))).json()["context"]["reason_admin"]["facts"]
    assert (said["vendor"], said["government"], said["ownership"]) == ("none", "none", "match")


async def test_an_auditor_asks_nothing(service):
    assert (await service.ask(question(), Role.AUDITOR)).status_code == 403
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == [(0,)]


@pytest.mark.parametrize(
    ("scope", "target", "incident"),
    [
        ("everything", "", ""),
        ("model", "mythos-5", ""),
        ("authority", "orrery", ""),
        ("authority", "export-office", ""),
        ("organization", "acme", "I-1"),
        ("person", "acme/us", "I-1"),
        ("endpoint", "acme/ep-1", "I-1"),
    ],
)
async def test_a_stop_denies_until_it_is_lifted(service, scope, target, incident):
    assert (await service.ask(question())).json()["decision"] is True
    for lifted, allowed in (("no", False), ("yes", True)):
        await service.load(stops=f"scope,target,incident,lifted\n{scope},{target},{incident},{lifted}\n")
        said = (await service.ask(question())).json()
        assert said["decision"] is allowed
        assert said["context"]["reason_admin"]["facts"]["stop"] == (
            "none" if allowed else "incident" if incident else "emergency"
        )


async def test_a_stop_of_a_models_authority_denies_without_a_grant_of_it(service):
    await service.load(grants=PROGRAMME["grants"].replace("active", "draft"))
    await service.load(stops="scope,target\nauthority,orrery\n")
    said = (await service.ask(question())).json()["context"]["reason_admin"]
    assert (said["facts"]["stop"], said["facts"]["vendor"]) == ("emergency", "none")


async def test_a_listing_counts_under_its_own_grant_alone(service):
    header, vendor, government = PROGRAMME["grants"].replace("all_except", "listed").splitlines()
    await service.load(grants=f"{header},listed_people\n{vendor},\n{government},ca\n")
    said = (await service.ask(question("acme/ca", country="DE"))).json()["context"]["reason_admin"]["facts"]
    assert (said["vendor"], said["government"]) == ("foreign_nationals", "covered")


async def test_a_draft_is_no_grant(service):
    await service.load(grants=PROGRAMME["grants"].replace("active", "draft"))
    said = (await service.ask(question())).json()["context"]["reason_admin"]["facts"]
    assert (said["vendor"], said["government"]) == ("none", "none")


async def test_a_dry_run_explains_without_an_entry_or_a_seat(service):
    said = await service.post("/v1/explain", json=question("acme/ca", country="DE"))
    assert said.json()["decision"] is True
    assert "reason_admin" in said.json()["context"]
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == [(0,)]
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]
    assert (await service.post("/v1/explain", Role.GATEWAY, json=question())).status_code == 403


async def test_an_allow_claims_a_seat_under_each_grant_it_rests_on_once(service):
    for _ in range(2):
        assert (await service.ask(question("acme/ca", country="DE"))).json()["decision"] is True
    (claim,) = [each for each in await service.entries() if each["body"]["type"] == "seat_claimed"]
    assert [(claim["body"]["actor"],)] == service.sql("SELECT id FROM callers WHERE name = 'test compliance'")
    assert [(claim["body"]["person"],)] == service.sql("SELECT id FROM people WHERE external_id = 'ca'")
    held = service.sql("SELECT g.reference FROM seats JOIN grants g ON g.id = grant_id ORDER BY 1")
    assert held == [("G-1",), ("V-1",)]
    assert service.sql("SELECT used FROM seat_counts ORDER BY grant_id") == [(1,), (1,)]


async def test_a_us_person_at_home_takes_a_vendors_seat_alone(service):
    await service.ask(question("acme/us"))
    assert service.sql("SELECT g.reference FROM seats JOIN grants g ON g.id = grant_id") == [("V-1",)]


async def test_a_us_person_abroad_takes_the_governments_seat_too(service):
    assert (await service.ask(question("acme/us", country="DE"))).json()["decision"] is True
    held = service.sql("SELECT g.reference FROM seats JOIN grants g ON g.id = grant_id ORDER BY 1")
    assert held == [("G-1",), ("V-1",)]


async def test_a_grant_without_a_cap_has_no_seats(service):
    await service.load(grants=PROGRAMME["grants"].replace(",50\n", ",\n"))
    assert (await service.ask(question())).json()["decision"] is True
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_the_last_seat_taken_denies_the_next(service):
    service.sql(
        "ALTER TABLE seat_counts DISABLE TRIGGER ALL; UPDATE seat_counts SET used = 40 FROM grants g WHERE g.id = grant_id AND g.reference = 'G-1'"
    )
    said = (await service.ask(question("acme/ca", country="DE"))).json()
    assert said["context"]["reason_admin"]["codes"] == ["SEAT_CAP_REACHED"]
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_a_seat_counts_under_its_own_grant_alone(service):
    await service.ask(question())
    service.sql(
        "ALTER TABLE seat_counts DISABLE TRIGGER ALL; UPDATE seat_counts SET used = 40 FROM grants g WHERE g.id = grant_id AND g.reference = 'G-1'"
    )
    said = (await service.ask(question(country="DE"))).json()["context"]["reason_admin"]["facts"]
    assert (said["vendor"], said["government"]) == ("covered", "seat")


async def test_of_many_who_ask_at_once_no_more_get_a_seat_than_there_are(service):
    rows = "".join(f"acme,p{i},employee,yes,citizen,now+90d,yes,yes,a1;a2,r1,now+90d\n" for i in range(12))
    header = (
        "organization,external_id,employment,us_person,us_basis,training_expires,acceptable_use,"
        "technology_control_plan,approvals,requested_by,review_due\n"
    )
    await service.load(
        people=header + rows,
        screenings="organization,person,status,screened_at\n" + "".join(f"acme,p{i},clear,now-1h\n" for i in range(12)),
    )
    service.sql("ALTER TABLE grants DISABLE TRIGGER ALL; UPDATE grants SET seat_cap = 3")
    answers = await asyncio.gather(*(service.ask(question(f"acme/p{i}", country="DE")) for i in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert sum(answer.json()["decision"] for answer in answers) == 3
    held = service.sql(
        "SELECT g.reference, c.used, (SELECT count(*) FROM seats s WHERE s.grant_id = g.id) FROM grants g JOIN seat_counts c ON c.grant_id = g.id ORDER BY 1"
    )
    assert held == [("G-1", 3, 3), ("V-1", 3, 3)]


async def test_a_person_suspended_while_asking_keeps_no_seat(service):
    for _ in range(8):
        asked, suspended = await asyncio.gather(
            service.ask(question("acme/ca", country="DE")), service.post("/v1/people/acme/ca/suspend")
        )
        assert (asked.status_code, suspended.status_code) == (200, 200)
        assert service.sql("SELECT count(*) FROM seats") == [(0,)]
        assert service.sql("SELECT sum(used) FROM seat_counts") == [(0,)]
        await service.load(people="organization,external_id,employment,status\nacme,ca,employee,active\n")


async def test_nobody_who_has_left_gets_a_seat(service, monkeypatch):
    real = seats.claim

    async def left_first(change, person, wanted):
        await service.post("/v1/people/acme/ca/revoke")
        await real(change, person, wanted)

    monkeypatch.setattr(seats, "claim", left_first)
    said = (await service.ask(question("acme/ca", country="DE"))).json()
    assert said["context"]["reason_admin"]["primary"] == "EMPLOYMENT_ENDED"
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_a_denied_request_claims_no_seat(service):
    await service.ask(question("acme/ca", country="FR"))
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


def _cursor(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


async def test_the_log_lists_decisions_and_changes_for_auditors_in_pages(service):
    for _ in range(3):
        await service.ask(question())
    everything = await service.entries()
    paged: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await service.get(f"/v1/log/entries?limit=2{cursor and f'&cursor={cursor}'}")).json()
        paged, cursor = paged + page["items"], page["next"]
        await service.sequence()  # what reading adds to the log is not of the tree that is read
    assert [{**each, "index": index} for index, each in enumerate(everything)] == paged
    kinds = {item["body"]["type"] for item in everything}
    assert {"decision", "imported", "policy_activated", "key_created", "seat_claimed", "session_opened"} == kinds
    assert (await service.get("/v1/log/entries", Role.GATEWAY)).status_code == 403
    for cursor in (
        "x",
        "%00",
        *(_cursor(rest) for rest in ("", "1", "a\0b 1", f"1 {2**70}", "1 -1", "1 1 1")),
    ):
        assert (await service.get(f"/v1/log/entries?cursor={cursor}")).status_code == 400


async def test_the_log_holds_no_name_mail_or_country_of_anybody(service):
    await service.load(
        people="organization,external_id,name,email,employment,us_person,citizenships\n"
        "acme,new,Jane Roe,jane@acme.example,employee,no,Wakanda@1999-09-09\n"
    )
    await service.ask(question("acme/new"))
    for (body,) in service.sql("SELECT body FROM log_entries"):
        for secret in (b"Jane", b"jane@", b"akanda", b"AKANDA", b"1999-09-09"):
            assert secret not in body


# --- the wire ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"subject": "x"}', json.dumps(question() | {"subject": "us"}).encode(),
     json.dumps(question() | {"action": {"name": 7}}).encode(), json.dumps(question() | {"resource": {"type": "model"}}).encode(),
     json.dumps(question(location={"country": 5})).encode(), json.dumps(question() | {"context": []}).encode(),
     json.dumps(question("a\x00b")).encode(), json.dumps(question("\ud800")).encode(), json.dumps(question("x" * 300)).encode(),
     b'{"subject": {"type": "person", "type": "agent", "id": "x"}}', b'{"a": NaN}', b"\xff\xfe{}", b"[" * 30_000,
     json.dumps(question(note="\udfff")).encode(), json.dumps(question(note=2**70)).encode()],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
async def test_a_body_that_cannot_be_read_is_400_with_a_problem(service, body):
    answer = await service.client.post(
        "/access/v1/evaluation",
        content=body,
        headers=service.authorization(Role.COMPLIANCE) | {"Content-Type": "application/json", "X-Request-ID": "r-1"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.json()["detail"]
    assert service.sql("SELECT count(*) FROM log_entries WHERE type = 'decision'") == [(0,)]


@pytest.mark.parametrize("path", ["/access/v1/evaluation", "/v1/explain", "/v1/people/acme/us/suspend"])
@pytest.mark.parametrize("body", [b"{", b"{}", b"x" * 70_000], ids=["damaged", "empty", "too large"])
async def test_whoever_has_no_key_is_told_so_first(service, path, body):
    answer = await service.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_the_content_type_must_be_json_with_any_parameter(service):
    body, key = json.dumps(question()).encode(), service.authorization(Role.COMPLIANCE)
    for content_type, status in {"application/json; charset=utf-8": 200, "text/plain": 400, "": 400}.items():
        answer = await service.client.post(
            "/access/v1/evaluation", content=body, headers=key | {"Content-Type": content_type}
        )
        assert status == answer.status_code, content_type


async def test_unknown_members_and_nulls_are_ignored(service):
    asked = question(surprise=[1.5, {}]) | {"extra": 1}
    asked["context"]["location"]["region"] = None
    assert (await service.ask(asked)).json()["decision"] is True


async def test_a_body_over_the_limit_is_413(service):
    answer = await service.ask(question() | {"padding": "x" * 70_000})
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:mythos-gate:problem:too-large"


async def test_a_body_that_comes_in_parts_is_bounded_as_a_whole(service):
    async def parts():
        for _ in range(3):
            yield b" " * 30_000

    answer = await service.client.post(
        "/access/v1/evaluation", content=parts(), headers=service.authorization(Role.COMPLIANCE)
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "key", [None, "Bearer mgk_a_b_c", f"Bearer {api_keys.create()[0]}"], ids=["none", "bad", "unknown"]
)
@pytest.mark.parametrize("body", [b"{", json.dumps(question()).encode()], ids=["unreadable", "fine"])
async def test_without_a_valid_key_nothing_is_told_but_that(service, key, body):
    headers = {"Content-Type": "application/json"} | ({"Authorization": key} if key else {})
    answer = await service.client.post("/access/v1/evaluation", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:mythos-gate:problem:not-authenticated"


async def test_an_expired_key_opens_nothing(service):
    async with service.gate.registry.change("key_created", "test") as change:
        over = service.now - timedelta(seconds=1)
        key = await callers.create_key(
            change, "former", [Role.GATEWAY, Role.COMPLIANCE, Role.AUDITOR], service=True, expires_at=over
        )
    service.keys[Role.COMPLIANCE] = service.keys[Role.AUDITOR] = key.text
    assert (await service.ask(question())).status_code == 401
    assert (await service.get("/v1/log/entries")).status_code == 401
    assert (await service.post("/v1/organizations/acme/suspend")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_only_post_decides(service, method):
    answer = await service.client.request(
        method, "/access/v1/evaluation", headers=service.authorization(Role.COMPLIANCE)
    )
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/access/v1/evaluation/", "//access/v1/evaluation", "/access/v1"])
async def test_a_path_that_is_nearly_right_is_404(service, path):
    answer = await service.client.post(
        f"http://gate{path}", json=question(), headers=service.authorization(Role.COMPLIANCE)
    )
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_openapi_document_describes_the_question(service):
    document = (await service.client.get("/openapi.json")).json()
    schema = document["paths"]["/access/v1/evaluation"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"subject", "action", "resource"} <= set(schema["properties"])


@pytest.mark.parametrize("text", ["acme/\x00", "acme/\ud800", "\udfff", "a" * 257], ids=repr)
async def test_what_cannot_be_stored_is_refused_and_any_other_text_is_a_name(service, text):
    before = service.sql("SELECT count(*) FROM log_entries")
    sent = json.dumps(question(text))
    headers = service.authorization(Role.COMPLIANCE) | {"Content-Type": "application/json"}
    assert (await service.client.post("/access/v1/evaluation", content=sent, headers=headers)).status_code == 400
    assert before == service.sql("SELECT count(*) FROM log_entries")
    assert (await service.ask(question("acme/\U0001f980 ö"))).json()["decision"] is False


async def test_a_cold_subject_costs_one_query_and_a_known_one_none(service):
    for subject in ("acme/us", "acme/ca"):
        await service.ask(question(subject))  # the seats are claimed, the statements are prepared
    pool, pip = service.gate.pdp._pool, service.gate.pdp._pip
    asked: list[str] = []
    async with pool.acquire() as connection:
        connection.add_query_logger(lambda told: asked.append(told.query.split()[0]))
    for cold in (False, True, False):
        asked.clear()
        if cold:
            person = service.sql("SELECT id FROM people WHERE external_id = 'us'")[0][0]
            pip._drop(f"person:{person}")
        assert (await service.ask(question())).json()["decision"] is True
        assert asked == ["WITH"] * cold
    service.forget()
    asked.clear()
    assert (await service.ask(question())).json()["decision"] is True
    assert asked == ["WITH"]  # the key, the programme, the organization, the person and the endpoint
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT current_setting('role')") == "mythos_gate_service"
        assert connection.is_in_transaction() is False


@pytest.mark.parametrize("depth", [250, 253, 254, 300, 1_000, 20_000])
async def test_a_body_nested_too_deep_is_a_bad_request_and_no_error_of_ours(service, depth):
    sent = json.dumps(question())[:-2] + ', "deep": ' + "[" * depth + "]" * depth + "}}"
    headers = service.authorization(Role.GATEWAY) | {"Content-Type": "application/json"}
    for path in ("/access/v1/evaluation", "/access/v1/evaluations"):
        answer = await service.client.post(path, content=sent, headers=headers)
        assert answer.status_code == (200 if depth < 252 else 400), answer.text
