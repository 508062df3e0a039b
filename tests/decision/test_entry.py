"""The entry that is laid by hand has the bytes of the one that is written from its members."""

import hmac
import re
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mythos_gate.audit.entry import PLACE, canonical, fill, template
from mythos_gate.decision import facts
from mythos_gate.decision.entry import Digest, Entries
from mythos_gate.decision.records import Loaded
from mythos_gate.decision.request import Request
from mythos_gate.terms import AgentStatus

KEY = b"k" * 32
ORIGIN = 'gate "one"/log'
ID, AT = "0197a1b2-0000-7000-8000-000000000000", "2026-01-01T00:00:00.000000Z"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
MAYBE = st.none() | TEXT
WORD = st.sampled_from(["invoke", "model", "scan", "patch", "5.1", "5.1.0.2", "5.x", 'a"b', "é"])
WORDS = st.none() | WORD | TEXT
CONTEXT = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-9, 9) | TEXT, max_size=3)
LOGGED = st.fixed_dictionaries(
    {
        "bypassed": st.lists(TEXT, max_size=2),
        "cause": st.lists(TEXT, max_size=2),
        "facts": st.just({"subject": "person"}),
        "outcome": TEXT,
        "reasons": st.lists(TEXT, max_size=2),
        "rows": st.lists(TEXT, max_size=2),
    }
)


def digested(value: Any) -> str:
    return hmac.digest(KEY, orjson.dumps(value, option=orjson.OPT_SORT_KEYS), "sha256").hex()


def known(text: str | None, is_known: object) -> Any:
    return text if text is None or is_known else {"digest": digested(text)}


def members(asked: Request, context: Any, request_id: str | None, loaded: Loaded, logged: Any, salt: str) -> Any:
    """What is in the entry of a decision, told once more and plainly."""
    kind = asked.subject_type if asked.subject_type in {"person", "agent"} else "other"
    subject: dict[str, Any] = {"type": kind}
    if loaded.subject_id is None:
        subject["digest"] = digested([asked.subject_type, asked.subject_id])
    else:
        subject |= {"id": loaded.subject_id, "person": loaded.records.person and loaded.records.person.id}
    agent = loaded.records.agent
    named = asked.capability in loaded.capabilities or (agent and asked.capability in agent.scopes)
    return {
        "v": 1,
        "log": ORIGIN,
        "type": "decision",
        "id": ID,
        "at": AT,
        "salt": salt,
        "caller": {"id": "cal_1", "key": "k1"},
        "subject": subject,
        "organization": loaded.organization_id,
        "action": {
            "name": known(asked.action, asked.action == "invoke"),
            "capability": known(asked.capability, named),
            "purpose": known(asked.purpose, asked.purpose in loaded.purposes),
        },
        "resource": {
            "type": known(asked.resource_type, asked.resource_type == "model"),
            "id": known(asked.model, loaded.model_known),
            "version": known(asked.version, re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}", asked.version or "")),
            "endpoint": loaded.endpoint_id,
        },
        "context": digested(context),
        "request": request_id and digested(request_id),
        **logged,
        "policy": {"revision": loaded.policy_revision, "sha256": loaded.policy.sha256},
        "data_set": loaded.data_set,
    }


@st.composite
def situations(draw: st.DrawFn) -> tuple[Request, Loaded]:
    kind = draw(st.sampled_from(["person", "agent"]) | TEXT)
    asked = Request(kind, draw(TEXT), draw(WORD), draw(WORDS), draw(WORDS), draw(WORD), draw(WORD), draw(WORDS))
    person = draw(st.none() | st.just(facts.Person("per_1")))
    agent = draw(st.none() | st.just(facts.Agent("agt_1", AgentStatus.ACTIVE, frozenset({"scan"}))))
    loaded = SimpleNamespace(
        records=facts.Records(person=person, agent=agent),
        policy=SimpleNamespace(sha256="ab" * 32),
        policy_revision=draw(st.integers(0, 2**53 - 1)),
        data_set=draw(st.just("") | st.just("cd" * 32)),
        subject_id=draw(MAYBE),
        organization_id=draw(MAYBE),
        endpoint_id=draw(MAYBE),
        model_known=draw(st.booleans()),
        capabilities=draw(st.just(frozenset()) | st.just(frozenset({"scan", 'a"b'}))),
        purposes=draw(st.just(frozenset()) | st.just(frozenset({"patch"}))),
    )
    return asked, cast("Loaded", loaded)


LAYING = Entries(ORIGIN, KEY)  # one for all, so that what is remembered is met by other questions


@given(situations(), CONTEXT, MAYBE, LOGGED)
def test_it_has_the_bytes_of_the_template(situation, context, request_id, logged):
    asked, loaded = situation
    told = {name: canonical(value).decode() for name, value in logged.items()}
    parts = LAYING.parts(("cal_1", "k1"), asked, context, request_id, loaded, told, ID, AT)
    salt = orjson.loads(fill(parts, (1, None, "w")))["salt"]
    assert parts == template(members(asked, context, request_id, loaded, logged, salt), PLACE)


@given(st.binary(min_size=1, max_size=200), st.dictionaries(TEXT, TEXT, max_size=3) | TEXT)
def test_a_digest_is_hmac_sha256(key, value):
    expected = hmac.digest(key, orjson.dumps(value, option=orjson.OPT_SORT_KEYS), "sha256").hex()
    digest = Digest(key)
    assert [digest(value), digest(value)] == [expected, expected]


@pytest.mark.parametrize("name", ["bypassed", "cause", "facts", "outcome", "reasons", "rows"])
def test_each_member_that_follows_from_the_facts_is_in_it(name):
    logged = {each: f'"{each}"' for each in ("bypassed", "cause", "facts", "outcome", "reasons", "rows")}
    asked = Request("person", "acme/us", "invoke", None, None, "model", "m", None)
    loaded = SimpleNamespace(
        records=facts.Records(), policy=SimpleNamespace(sha256=""), policy_revision=1, data_set="", subject_id=None,
        organization_id=None, endpoint_id=None, model_known=False, capabilities=frozenset(), purposes=frozenset(),
    )  # fmt: skip
    parts = LAYING.parts(("cal_1", "k1"), asked, {}, None, cast("Loaded", loaded), logged, ID, AT)
    assert orjson.loads(fill(parts, (1, None, "w")))[name] == name
