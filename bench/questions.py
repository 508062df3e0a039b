"""What is asked: a fixed sample of the programme's people and agents, from where and with what they work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from mythos_gate import generate

SEED = 7
# The first ids are a random sample: an id is a hash of the name.
PEOPLE = """
SELECT p.id, o.slug || '/' || p.external_id, p.work_country,
  (SELECT count(*) FROM endpoints e WHERE e.organization_id = o.id)
FROM (SELECT * FROM people ORDER BY id LIMIT %s OFFSET %s) p JOIN organizations o ON o.id = p.organization_id
ORDER BY p.id
"""
AGENTS = """
SELECT a.id, o.slug || '/' || a.external_id, a.runtime_country,
  (SELECT count(*) FROM endpoints e WHERE e.organization_id = o.id)
FROM (SELECT * FROM agents ORDER BY id LIMIT %s OFFSET %s) a JOIN organizations o ON o.id = a.organization_id
ORDER BY a.id
"""


@dataclass(frozen=True, slots=True)
class Question:
    """An AuthZEN evaluation and the gate's own id of its subject."""

    id: str
    body: dict[str, Any]


def of_people(url: str, count: int, after: int = 0) -> list[Question]:
    return list(_questions(url, "person", PEOPLE, count, after))


def of_agents(url: str, count: int) -> list[Question]:
    return list(_questions(url, "agent", AGENTS, count, 0))


def mixed(people: Sequence[Question], agents: Sequence[Question]) -> list[Question]:
    """Both, so that agents are spread evenly among people."""
    every = [(number / len(group), question) for group in (people, agents) for number, question in enumerate(group)]
    return [question for _, question in sorted(every, key=lambda each: (each[0], each[1].id))]


def _questions(url: str, kind: str, query: str, count: int, after: int) -> Iterator[Question]:
    chance = generate.Chance(SEED)
    with psycopg.connect(url) as connection:
        for identifier, name, country, endpoints in connection.execute(query.encode(), [count, after]):
            abroad = chance.weighed(generate.WORK_COUNTRY)
            context: dict[str, Any] = {
                "location": {"country": abroad if chance.happens(0.03) else country},
                "endpoint": f"ep-{1 + chance.below(endpoints)}",
            }
            if kind == "person":
                context["session"] = {"mfa": "password" if chance.happens(0.01) else "phishing_resistant"}
            yield Question(identifier, {"subject": {"type": kind, "id": name}, **_wanted(chance), "context": context})


def _wanted(chance: generate.Chance) -> dict[str, Any]:
    capability = "patch-validation" if chance.happens(0.15) else "vuln-discovery"
    purpose = "owner-authorized-target" if chance.happens(0.05) else "defensive-own-systems"
    version = "5.1.0" if chance.happens(0.3) else "5.0.2"
    return {
        "action": {"name": "invoke", "properties": {"capability": capability, "purpose": purpose}},
        "resource": {"type": "model", "id": generate.MODEL, "properties": {"version": version}},
    }


def batch(questions: Sequence[Question]) -> dict[str, Any]:
    """One AuthZEN request for all: what most of them share stands beside them."""
    shared = {name: questions[0].body[name] for name in ("action", "resource")}
    items = [{name: value for name, value in each.body.items() if value != shared.get(name)} for each in questions]
    return {**shared, "evaluations": items}
