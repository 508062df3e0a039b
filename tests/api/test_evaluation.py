"""The decision over HTTP: what a PEP, a compliance officer and an auditor see."""

import json

import pytest

from mythos_gate.terms import Role
from tests.service import question

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
    "resource", [{"type": "model", "id": "mythos-6"}, {"type": "dataset", "id": "mythos-5"}], ids=["model", "type"]
)
async def test_an_unknown_resource_is_denied(service, resource):
    said = (await service.ask(question() | {"resource": resource})).json()
    assert said["context"]["reason_admin"]["primary"] == "ORG_NOT_AUTHORIZED"


async def test_free_text_of_the_caller_enters_the_log_as_digests(service):
    asked = question(break_glass=None, note="Jane Roe, born 1970")
    asked["action"]["properties"]["purpose"] = "for Jane Roe"
    asked["resource"]["properties"]["version"] = "Jane"
    asked["resource"]["id"] = "Roe"
    await service.ask(asked, **{"X-Request-ID": "jane-roe-1"})
    ((body,),) = service.sql("SELECT body FROM log_entries WHERE type = 'decision'")
    assert b"roe" not in body.lower()
    assert b"jane" not in body.lower()


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
    held = service.sql("SELECT g.reference FROM seats JOIN grants g ON g.id = grant_id ORDER BY 1")
    assert held == [("G-1",), ("V-1",)]
    assert service.sql("SELECT used FROM seat_counts ORDER BY grant_id") == [(1,), (1,)]


async def test_a_us_person_at_home_takes_a_vendors_seat_alone(service):
    await service.ask(question("acme/us"))
    assert service.sql("SELECT g.reference FROM seats JOIN grants g ON g.id = grant_id") == [("V-1",)]


async def test_the_last_seat_taken_denies_the_next(service):
    service.sql("UPDATE seat_counts SET used = 40 FROM grants g WHERE g.id = grant_id AND g.reference = 'G-1'")
    said = (await service.ask(question("acme/ca", country="DE"))).json()
    assert said["context"]["reason_admin"]["codes"] == ["SEAT_CAP_REACHED"]
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_a_denied_request_claims_no_seat(service):
    await service.ask(question("acme/ca", country="FR"))
    assert service.sql("SELECT count(*) FROM seats") == [(0,)]


async def test_the_log_lists_decisions_and_changes_for_auditors_in_pages(service):
    for _ in range(3):
        await service.ask(question())
    everything = await service.entries()
    paged: list[object] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await service.get(f"/v1/log/entries?limit=2{cursor and f'&cursor={cursor}'}")).json()
        paged, cursor = paged + page["items"], page["next"]
    assert everything == paged
    kinds = {item["body"]["type"] for item in everything}
    assert {"decision", "imported", "policy_activated", "key_created", "seat_claimed", "session_opened"} == kinds
    assert (await service.get("/v1/log/entries", Role.GATEWAY)).status_code == 403
    assert (await service.get("/v1/log/entries?cursor=x")).status_code == 400


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


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_only_post_decides(service, method):
    answer = await service.client.request(
        method, "/access/v1/evaluation", headers=service.authorization(Role.COMPLIANCE)
    )
    assert answer.status_code == 405


@pytest.mark.parametrize("path", ["/access/v1/evaluation/", "//access/v1/evaluation", "/access/v1"])
async def test_a_path_that_is_nearly_right_is_404(service, path):
    answer = await service.client.post(
        f"http://gate{path}", json=question(), headers=service.authorization(Role.COMPLIANCE)
    )
    assert answer.status_code == 404


async def test_metadata_comes_from_the_configuration(service):
    answer = await service.client.get("/.well-known/authzen-configuration", headers={"Host": "evil.example"})
    configured = service.gate.settings
    base = f"http://{configured.host}:{configured.port}"
    assert answer.json() == {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
    }


async def test_the_openapi_document_describes_the_question(service):
    document = (await service.client.get("/openapi.json")).json()
    schema = document["paths"]["/access/v1/evaluation"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"subject", "action", "resource"} <= set(schema["properties"])
