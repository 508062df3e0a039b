"""The June story against a running demo: `python examples/june.py URL KEY SECOND_KEY`. SECOND_KEY is another officer's.

One evening a directive suspends the model for foreign persons and for anybody abroad. Two weeks later a letter exempts
an organization, its employees from other countries included. Each is simulated before it is signed, and every step is
in the log.
"""

import sys
import time
from datetime import UTC, datetime
from typing import Any

import httpx

ACTION = {"name": "invoke", "properties": {"capability": "vuln-discovery", "purpose": "defensive-own-systems"}}
# Who asks: the subject, from where, on which endpoint.
CANADIAN = ("northwind-grid/e-1042", "DE", "northwind-grid/ep-7")
AMERICAN = ("northwind-grid/e-1001", "US", "northwind-grid/ep-7")
TRAVELLER = ("northwind-grid/e-1001", "DE", "northwind-grid/ep-7")
ELSEWHERE = ("ottervane-health/h-3", "US", "ottervane-health/ep-1")


class Story:
    """One officer's key and another's; every request is a real one."""

    def __init__(self, url: str, key: str, second: str) -> None:
        self.officer = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"})
        self.second = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {second}"})

    def ask(self, who: tuple[str, str, str]) -> str:
        subject, country, endpoint = who
        question = {
            "subject": {"type": "person", "id": subject},
            "action": ACTION,
            "resource": {"type": "model", "id": "mythos-5", "properties": {"version": "5.1.0"}},
            "context": {
                "location": {"country": country},
                "endpoint": endpoint,
                "session": {"mfa": "phishing_resistant"},
            },
        }
        answer = self.officer.post("/access/v1/evaluation", json=question).raise_for_status().json()
        return str(answer["context"]["reason_admin"]["primary"])

    def expect(self, reason: str, *people: tuple[str, str, str]) -> None:
        for who in people:
            told = self.ask(who)
            print(f"    {who[0]:22} from {who[1]}  {told}")
            if told != reason:
                sys.exit(f"expected {reason}")


def simulation(story: Story, **draft: Any) -> None:
    """What a draft would change for everybody on record; nothing else is."""
    told = story.officer.post("/v1/simulations", json=draft, timeout=60).raise_for_status().json()
    changes, paths = told["figures"]["changes"]["people"], told["figures"]["paths"]
    print(
        f"    simulated: people newly allowed {changes['newly_allowed']}, newly denied {changes['newly_denied']};"
        f" paths {paths['before']} before, {paths['after']} after"
    )


def directive(story: Story) -> str:
    """The officer of the authority enters it alone: it takes access away. Its id."""
    order = {
        "model": "mythos-5",
        "versions": ["5.1"],
        "applies_to": "foreign_persons_or_abroad",
        "from": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    simulation(story, directives=[order])
    order |= {"authority": "export-office", "reference": f"EO-{datetime.now(UTC):%Y%m%d-%H%M%S}"}
    made = story.officer.post("/v1/directives", json=order).raise_for_status()
    return str(made.json()["id"])


def exemption(story: Story, identifier: str) -> None:
    """The second letter widens access: a second officer approves it."""
    path = f"/v1/directives/{identifier}"
    tag = story.officer.get(path).raise_for_status().headers["etag"]
    letter = {"exempt_organizations": ["northwind-grid"]}
    simulation(story, amended={identifier: letter})
    request = story.officer.patch(path, json=letter, headers={"If-Match": tag})
    print("    requested; until a second officer approves it nothing changes:")
    story.expect("MODEL_SUSPENDED_BY_DIRECTIVE", CANADIAN)
    approval = {"sha256": request.raise_for_status().json()["sha256"]}
    story.second.post(f"{request.headers['location']}/approve", json=approval).raise_for_status()


def log(story: Story) -> list[dict[str, Any]]:
    """Every entry, in its order; a signed head covers each a second or two after it was written."""
    time.sleep(3)
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = story.officer.get("/v1/log/entries", params={"limit": 1000} | ({"cursor": cursor} if cursor else {}))
        items, cursor = items + page.raise_for_status().json()["items"], page.json()["next"]
    return [item["body"] for item in items]


def main(url: str, key: str, second: str) -> None:
    story = Story(url, key, second)
    since = len(log(story))
    print("Before: everybody of a listed organization works.")
    story.expect("ALLOW", CANADIAN, AMERICAN, TRAVELLER, ELSEWHERE)
    print("17:21, the directive: foreign persons and anybody abroad are cut, US persons at home keep working.")
    begun = time.perf_counter()
    identifier = directive(story)
    story.expect("MODEL_SUSPENDED_BY_DIRECTIVE", CANADIAN)
    print(f"    from the officer's call to the first denied answer: {(time.perf_counter() - begun) * 1000:.0f} ms")
    story.expect("MODEL_SUSPENDED_BY_DIRECTIVE", TRAVELLER, ELSEWHERE)
    story.expect("ALLOW", AMERICAN)
    print("Two weeks later, the letter: one organization is exempt, including its non-American employees.")
    exemption(story, identifier)
    story.expect("ALLOW", CANADIAN, AMERICAN, TRAVELLER)
    story.expect("MODEL_SUSPENDED_BY_DIRECTIVE", ELSEWHERE)
    print("In the log:")
    for entry in log(story)[since:]:
        told = entry.get("reasons") or [
            entry[name] for name in ("directive", "change_request", "report") if name in entry
        ]
        print(f"    {entry['at']}  {entry['type']:18} {' '.join(told)}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
