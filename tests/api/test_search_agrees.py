"""A search agrees with evaluation on every answer: who is found is allowed, and whoever is left out is not."""

import itertools
from collections import Counter
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mythos_gate.terms import Role
from tests import postgres
from tests.service import PROGRAMME, Service, question

DONE = "now+90d,yes,yes,a1;a2,r1,now+90d"
GOOD = f"employee,yes,citizen,,,{DONE}"
# By external id: what stands in the file of people, and the screening.
PEOPLE = {
    "good": (GOOD, "clear,now-1h"),
    "canadian": (f"employee,no,,CA@1991-01-01,now+90d,{DONE}", "clear,now-1h"),
    "chinese": (f"employee,no,,CN@1991-01-01,now+90d,{DONE}", "clear,now-1h"),
    "dual": (f"employee,no,,CN@1991-01-01;DE@2001-01-01,now+90d,{DONE}", "clear,now-1h"),
    "unreviewed": (GOOD.replace("yes,citizen,", "unknown,,"), "clear,now-1h"),
    "contractor": (GOOD.replace("employee", "contractor"), "clear,now-1h"),
    "left": (GOOD.replace("employee", "ended"), "clear,now-1h"),
    "untrained": (GOOD.replace("now+90d,yes,yes", ",yes,yes"), "clear,now-1h"),
    "unsigned": (GOOD.replace("now+90d,yes,yes", "now+90d,no,yes"), "clear,now-1h"),
    "approved-once": (GOOD.replace("a1;a2", "a1"), "clear,now-1h"),
    "overdue": (GOOD.replace("r1,now+90d", "r1,now-1d"), "clear,now-1h"),
    "stale": (GOOD, "clear,now-90h"),
    "matched": (GOOD, "true_match,now-1h"),
}
ORGANIZATIONS = ["acme", "other", "vendor-only", "full", "halted"]
AGENTS = {
    "bot": "good,active,vuln-discovery;patch-validation,now+1d,US,1",
    "bot-abroad": "canadian,active,vuln-discovery,now+1d,DE,1",
    "bot-deep": "good,active,vuln-discovery,now+1d,US,2",
    "bot-expired": "good,active,vuln-discovery,now-1d,US,1",
    "bot-of-leaver": "left,active,vuln-discovery,now+1d,US,1",
    "bot-narrow": "good,active,patch-validation,now+1d,US,1",
}
GRANTS = """authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes,foreign_nationals,excluded_groups,nationality_basis,allowed_countries,contractors,agents,seat_cap
"""
COVER = "all_except,E:1;E:2;D:5;MO,ear_most_recent,US;DE"
BOTH = "vuln-discovery;patch-validation,defensive-own-systems;training"
FILES = {
    "models": PROGRAMME["models"] + "mythos-4,orrery,Mythos 4,4.0,patch-validation\n"
    "mythos-6,orrery,Mythos 6,6.0,vuln-discovery\n",
    "organizations": "organization,name,status,incorporated_in,parent_country\n"
    + "".join(f"{each},X,{'suspended' if each == 'halted' else 'active'},US,US\n" for each in ORGANIZATIONS),
    "people": PROGRAMME["people"].splitlines()[0]
    + "\n"
    + "".join(f"{home},{name},{row}\n" for home in ORGANIZATIONS for name, (row, _) in PEOPLE.items()),
    "agents": PROGRAMME["agents"].splitlines()[0]
    + "\n"
    + "".join(f"{home},{name},{row}\n" for home in ORGANIZATIONS for name, row in AGENTS.items()),
    "endpoints": "organization,external_id,status,attested\n"
    + "".join(f"{each},ep-1,active,yes\n{each},ep-9,active,no\n" for each in ORGANIZATIONS),
    "screenings": "organization,person,status,screened_at\n"
    + "".join(f"{each},,clear,now-1h\n" for each in ORGANIZATIONS)
    + "".join(f"{home},{name},{seen}\n" for home in ORGANIZATIONS for name, (_, seen) in PEOPLE.items()),
    "grants": GRANTS
    + "".join(
        f"{authority},{authority}-{home},{home},mythos-5,active,now-90d,now+90d,5.0;5.1,{BOTH},{COVER},yes,yes,{cap}\n"
        for authority, home, cap in (
            ("orrery", "acme", 500),
            ("export-office", "acme", ""),
            ("orrery", "vendor-only", ""),
            ("orrery", "full", 1),
            ("export-office", "full", 1),
            ("orrery", "halted", ""),
            ("export-office", "halted", ""),
        )
    )
    + f"orrery,V-4,acme,mythos-4,active,now-90d,now+90d,4.0,patch-validation,training,{COVER},no,no,500\n"
    + f"export-office,G-4,acme,mythos-4,active,now-90d,now+90d,4.0,patch-validation,training,{COVER},no,no,\n",
    "break_glass": "organization,incident,opened_by,approvers,opened,expires\nacme,I-1,a,b;c,now-1h,now+1h\n"
    "vendor-only,I-2,a,b;c,now-1h,now+1h\nacme,I-3,a,b,now-1h,now+1h\n",
}  # fmt: skip
SUBJECTS = {
    "person": ["acme/us", "acme/ca", *(f"{home}/{name}" for home in ORGANIZATIONS for name in PEOPLE)],
    "agent": [f"{home}/{name}" for home in ORGANIZATIONS for name in AGENTS],
}
MODELS = ["mythos-4", "mythos-5", "mythos-6"]
USES = list(itertools.product(["vuln-discovery", "patch-validation"], ["defensive-own-systems", "training"]))


def mostly(first, *others):
    return st.sampled_from([first] * 8 * len(others) + list(others))


QUESTIONS = st.fixed_dictionaries(
    {
        "subject": st.builds(
            lambda kind, place: {"type": kind, "id": SUBJECTS[kind][place % len(SUBJECTS[kind])]},
            mostly("person", "agent"),
            st.just(0) | st.integers(0, 1000),
        ),
        "action": st.builds(
            lambda name, capability, purpose: {
                "name": name,
                "properties": {"capability": capability, "purpose": purpose},
            },
            mostly("invoke", "invoke", "read"),
            mostly("vuln-discovery", "patch-validation", "exploit-writing"),
            mostly("defensive-own-systems", "training", "attack"),
        ),
        "resource": st.builds(
            lambda name, version: {"type": "model", "id": name, "properties": {"version": version}},
            mostly("mythos-5", "mythos-4", "mythos-6", "mythos-9"),
            mostly("5.1.0", "5.0.2", "4.0.0", None),
        ),
        "context": st.fixed_dictionaries(
            {
                "location": st.fixed_dictionaries({"country": mostly("US", "DE", "FR", "CN", "IR", None)}),
                "endpoint": mostly("ep-1", "ep-9", "acme/ep-1", None),
                "session": st.fixed_dictionaries({"mfa": mostly("phishing_resistant", "sms")}),
                "break_glass": mostly(None, "acme/I-1", "vendor-only/I-2", "acme/I-3", "acme/I-4"),
            }
        ),
    }
)


class Varied:
    """The service, asked from outside of its event loop."""

    def __init__(self, portal, service, keys):
        self.portal, self.service, self.keys = portal, service, keys

    def post(self, path, members, key):
        async def send():
            return await self.service.client.post(f"/access/v1/{path}", json=members, headers=self.keys[key])

        answer = self.portal.call(send)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, kind, members, key, limit):
        """Identifiers, over all pages."""
        ids, token = [], None
        while token != "":
            page = {"limit": limit} | ({} if token is None else {"token": token})
            told = self.post(f"search/{kind}", members | {"page": page}, key)
            ids += [each.get("id") or each["name"] for each in told["results"]]
            token = told["page"]["next_token"]
        assert len(ids) == len(set(ids))
        return set(ids)

    def allowed(self, questions, key):
        told = self.post("evaluations", {"evaluations": list(questions.values())}, key)["evaluations"]
        return {name for name, answer in zip(questions, told, strict=True) if answer["decision"]}


@pytest.fixture(scope="module")
def varied(server, programme, tmp_path_factory):
    url, keys = programme

    async def load(service):
        service.keys = dict(keys)
        await service.load(**FILES)
        # The only seat of this organization is taken.
        assert (await service.ask(question("full/good", country="US"))).json()["decision"] is True
        return {
            "all": service.authorization(Role.COMPLIANCE),
            "acme": await service.key(Role.GATEWAY, organizations=["acme", "full"]),
            "mythos-4": await service.key(Role.GATEWAY, models=["mythos-4"]),
        }

    with postgres.scratch(server, postgres.name_of(url)) as own, start_blocking_portal() as portal:
        running = Service.running(own, tmp_path_factory.mktemp("varied"))
        with portal.wrap_async_context_manager(running) as service:
            yield Varied(portal, service, portal.call(load, service))


def test_who_is_found_is_allowed_and_whoever_is_left_out_is_not(varied):
    seen: Counter[Any] = Counter()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(QUESTIONS, mostly("all", "acme", "mythos-4"), st.sampled_from([7, 100]))
    def agrees(asked, key, limit):
        kind = asked["subject"]["type"]
        found = varied.found("subject", asked, key, limit)
        questions = {each: asked | {"subject": {"type": kind, "id": each}} for each in SUBJECTS[kind]}
        assert found == varied.allowed(questions, key)
        seen["found"] += len(found)
        seen["left out"] += len(questions) - len(found)

    agrees()
    assert seen["found"] > 50
    assert seen["left out"] > 500


def invocations(asked, uses):
    """The question for each capability and purpose."""
    return {
        use: asked | {"action": {"name": "invoke", "properties": {"capability": use[0], "purpose": use[1]}}}
        for use in uses
    }


def test_models_and_actions_that_are_found_are_allowed_and_others_are_not(varied):
    seen: Counter[Any] = Counter()

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(QUESTIONS, mostly("all", "acme", "mythos-4"))
    def agrees(asked, key):
        models = {each: asked | {"resource": asked["resource"] | {"id": each}} for each in [*MODELS, "mythos-9"]}
        found = varied.found("resource", asked, key, 2)
        assert found == varied.allowed(models, key)
        seen["models", bool(found)] += 1
        said = tuple(asked["action"]["properties"].values())
        silent = {name: asked[name] for name in ("subject", "resource", "context")}
        for sent, uses in ((asked, [said]), (silent, USES)):
            done = varied.found("action", sent, key, 2)
            assert done == ({"invoke"} if varied.allowed(invocations(asked, uses), key) else set())
            seen["actions", bool(done), sent is asked] += 1

    agrees()
    assert len(seen) == 6, seen


def test_the_programme_is_varied(varied):
    """Otherwise the two above would say little."""
    plain = question(version="5.1.0", country="US")
    told = varied.found("subject", plain, "all", 100)
    assert {"acme/good", "acme/canadian", "acme/contractor", "vendor-only/good", "full/good"} <= told
    assert told.isdisjoint({"acme/left", "acme/chinese", "full/canadian", "vendor-only/canadian", "halted/good"})
    assert varied.found("subject", plain, "acme", 100) == {each for each in told if each.startswith(("acme", "full"))}
