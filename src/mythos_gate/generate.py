"""A generated programme: invented organizations and people in realistic proportions, as files for the import.

The same bytes for the same numbers and seed, on every version of Python: times are relative to the import (`now+90d`),
and all that is drawn comes from `Random.random()`, the one method whose sequence is promised to stay.
"""

import csv
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, TextIO, TypeVar

from mythos_gate.errors import Invalid
from mythos_gate.registry.csvfile import MOST_ROWS

T = TypeVar("T")
VENDOR, GOVERNMENT, MODEL = "orrery-labs", "export-office", "mythos-5"
# Of 300 organizations 200 are the vendor's partners, 130 on the government's list, 30 on both.
VENDORS, GOVERNMENTS = 200 / 300, 130 / 300
SMALLEST = 3
AGENTS_PER_PERSON = 1 / 4
PEOPLE_PER_ENDPOINT = 8

# Of a thousand foreign persons, about how many hold a country's passport.
PASSPORTS = """
IN 190 CN 95 GB 62 CA 60 DE 48 MX 36 FR 34 KR 30 JP 28 TW 26 BR 25 AU 22 PL 18 NL 17 IT 17 ES 17 IL 16 PK 15 NG 15 PH 14
VN 14 IR 10 RU 14 UA 13 TR 12 EG 9 SE 9 IE 9 CH 8 SG 8 CO 8 ZA 8 NZ 7 BE 7 AT 7 PT 7 GR 6 RO 7 CZ 6 HU 6 DK 6 FI 6 NO 6
AR 7 CL 5 PE 5 VE 5 MY 6 ID 6 TH 6 BD 6 LK 5 NP 5 KE 5 GH 5 ET 4 MA 4 TN 4 DZ 3 JO 4 LB 4 SA 4 AE 4 HK 5 MO 1 KZ 3 UZ 2
BY 3 BG 4 HR 3 RS 3 SK 3 SI 2 LT 3 LV 2 EE 2 IS 1 LU 1 CY 1 MT 1 CR 2 PA 1 GT 2 SV 2 HN 1 DO 2 JM 2 TT 1 EC 2 BO 1 UY 1
PY 1 AM 1 GE 2 AZ 1 MN 1 KH 1 MM 2 LA 1 IQ 2 SY 2 CU 2 KP 1 AF 2 YE 1 SD 1 LY 1 CM 1 SN 1 CI 1 UG 1 TZ 1 RW 1 ZW 1 PS 1
"""
WORK = "US 78 GB 4 CA 4 DE 3 JP 2 AU 2 KR 1 FR 2 NL 1 IN 2 SG 0.5 CN 0.5"
PARENTS = "US 860 GB 40 DE 30 JP 20 CA 20 FR 10 KR 10 CN 6 HK 2"
SECTORS = "energy finance health telecom transport water government software research retail"
FIRST = """amber brindle cinder drift elder fallow gale hollow iron juniper kestrel lark marrow north otter pine quill
rook sable thistle"""
SECOND = "bank combe dale field gate haven line mere port quay ridge shore stone vale ward wick wind wood"
GIVEN = """Ada Bela Cato Dorit Edvin Fenna Gero Hedda Ivo Jorun Kalle Liv Mirko Nela Odalys Pelle Quirin Rune Signe Tove
Ulla Vito Wanda Ylva"""


@dataclass(frozen=True, slots=True)
class Organization:
    """What the other files need of one."""

    slug: str
    people: int
    vendor: bool
    government: bool


FIRSTS, SECONDS, GIVENS = FIRST.split(), SECOND.split(), GIVEN.split()
SECTOR = SECTORS.split()


class Chance:
    """What is drawn, by nothing but `random()`."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  nothing here is secret

    def below(self, number: int) -> int:
        return int(self._random.random() * number)

    def happens(self, share: float) -> bool:
        return self._random.random() < share

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def weighed(self, weights: "Weights[T]") -> T:
        return weights.at(self._random.random())

    def size(self) -> float:
        """A weight whose distribution has a long tail: few organizations are large."""
        return float((1 - self._random.random()) ** -1.1 - 1)


class Weights(tuple[Sequence[T], list[float]]):
    """Choices with their weights."""

    __slots__ = ()

    def __new__(cls, weights: Iterable[tuple[T, float]]) -> "Weights[T]":
        choices, each = zip(*weights, strict=True)
        return super().__new__(cls, (choices, list(accumulate(each))))

    def at(self, place: float) -> T:
        choices, sums = self
        return choices[bisect(sums, place * sums[-1])]


def _weights(text: str) -> Weights[str]:
    """`US 78 GB 4`."""
    words = text.split()
    return Weights((code, float(weight)) for code, weight in zip(words[::2], words[1::2], strict=True))


NATIONALITY, WORK_COUNTRY, PARENT = _weights(PASSPORTS), _weights(WORK), _weights(PARENTS)
US_PERSON = Weights((("yes", 66), ("no", 32), ("unknown", 2)))
US_BASIS = Weights((("citizen", 87), ("lpr", 11), ("national", 0.3), ("protected_individual", 1.7)))
SCREENING = Weights((("clear", 96), ("pending", 1.5), ("false_positive", 2), ("incomplete", 0.4), ("true_match", 0.1)))
GRANT = Weights((("active", 94), ("draft", 2), ("suspended", 2), ("revoked", 2)))


def write(folder: Path, organizations: int, people: int, seed: int) -> dict[str, int]:
    """Write the files of a programme; how many rows each kind has. `Invalid` if there are too few people."""
    if organizations < 1 or people < organizations * SMALLEST:
        raise Invalid(f"every organization has at least {SMALLEST} people: give at least {organizations * SMALLEST}")
    chance = Chance(seed)
    listed = _organizations(chance, organizations, people)
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(folder.glob("*.csv")):
        raise Invalid(f"{there[0]} is there already: give a folder without CSV files")
    with ExitStack() as stack:
        files = Files(folder, stack)
        _instruments(files, chance, listed)
        before = 0
        for organization in listed:
            _staff(files, chance, organization, before)
            before += organization.people
        return files.rows


class Files:
    """A file for each kind, and another where one would have more rows than an import takes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.rows: dict[str, int] = {}
        self._folder = folder
        self._stack = stack
        self._writers: dict[str, Any] = {}

    def add(self, kind: str, /, **cells: Any) -> None:
        done = self.rows.get(kind, 0)
        if done % MOST_ROWS == 0:
            part = done // MOST_ROWS
            file = self._open(f"{kind}.csv" if part == 0 else f"{kind}-{part + 1}.csv")
            self._writers[kind] = csv.DictWriter(file, list(cells), lineterminator="\n")
            self._writers[kind].writeheader()
        self._writers[kind].writerow(cells)
        self.rows[kind] = done + 1

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context((self._folder / name).open("w", encoding="utf-8", newline=""))


# --- organizations and their instruments ----------------------------------------------------------------------


def _organizations(chance: Chance, count: int, people: int) -> list[Organization]:
    """Sizes from three to a long tail, that sum up to the people; the largest are on both lists."""
    weights = [chance.size() for _ in range(count)]
    left = people - SMALLEST * count
    sums = list(accumulate(weights))
    shares = [int(left * total / sums[-1]) for total in sums]
    sizes = [SMALLEST + now - before for before, now in zip([0, *shares], shares, strict=False)]
    vendors, governments = max(1, round(count * VENDORS)), round(count * GOVERNMENTS)
    both = range(count - governments, vendors)
    large = sorted(sizes, reverse=True)[: len(both)]
    for size in large:
        sizes.remove(size)
    sizes[both.start : both.start] = large
    return [
        Organization(_slug(number), size, number < vendors, number >= count - governments)
        for number, size in enumerate(sizes)
    ]


def _slug(number: int) -> str:
    first, rest = number % len(FIRSTS), number // len(FIRSTS)
    second, again = rest % len(SECONDS), rest // len(SECONDS)
    return f"{FIRSTS[first]}{SECONDS[second]}{f'-{again + 1}' if again else ''}"


def _instruments(files: Files, chance: Chance, listed: Sequence[Organization]) -> None:
    cap = max(200, sum(each.vendor for each in listed))
    files.add("authorities", authority=VENDOR, name="Orrery Labs", kind="vendor", organization_cap=cap)
    files.add("authorities", authority=GOVERNMENT, name="Export Office", kind="government", organization_cap="")
    codes = {"versions": "5.0;5.1", "capabilities": "vuln-discovery;patch-validation;exploit-generation"}
    files.add("models", model=MODEL, authority=VENDOR, name="Mythos 5", **codes)
    for number, each in enumerate(listed):
        _organization(files, chance, each)
        if each.vendor:
            _grant(files, chance, each, VENDOR, number)
        if each.government:
            _grant(files, chance, each, GOVERNMENT, number)


def _organization(files: Files, chance: Chance, organization: Organization) -> None:
    name = organization.slug.replace("-", " ").title()
    files.add(
        "organizations",
        organization=organization.slug,
        name=name,
        sector=chance.of(SECTOR),
        status="suspended" if chance.happens(0.01) else "active",
        incorporated_in="US",
        parent_name=f"{name} Holding" if chance.happens(0.3) else name,
        parent_country=chance.weighed(PARENT),
        ownership_change_pending="yes" if chance.happens(0.01) else "no",
    )
    for owner in range(chance.below(4)):
        blocked = chance.happens(0.01)
        listed = "yes" if chance.happens(0.01) else "no"
        percent = 5 + chance.below(25)
        row = {
            "owner": f"Fund {owner + 1}",
            "percent": percent,
            "blocked": "yes" if blocked else "no",
            "listed": listed,
        }
        files.add("ownerships", organization=organization.slug, **row)
    screened = f"now-{1 + chance.below(40)}h"
    status = "pending" if chance.happens(0.01) else "clear"
    _screening(files, organization.slug, "", status, screened)


def _grant(files: Files, chance: Chance, organization: Organization, authority: str, number: int) -> None:
    vendor = authority == VENDOR
    expired = chance.happens(0.03)
    files.add(
        "grants",
        authority=authority,
        reference=f"{'V' if vendor else 'G'}-{number + 1:04}",
        organization=organization.slug,
        model=MODEL,
        status=chance.weighed(GRANT),
        document_sha256=f"{number + 1 + (0 if vendor else 2**64):064x}",
        not_before="now-400d",
        not_after=f"now-{1 + chance.below(30)}d" if expired else f"now+{20 + chance.below(700)}d",
        versions="5.0;5.1" if chance.happens(0.8) else "5.0",
        capabilities="vuln-discovery;patch-validation",
        purposes="defensive-own-systems;owner-authorized-target" if vendor else "defensive-own-systems",
        foreign_nationals="all_except" if chance.happens(0.85) else "none",
        excluded_groups="E:1;E:2;D:5;MO",
        nationality_basis="ear_most_recent" if chance.happens(0.7) else "strict_any_current",
        allowed_countries="*" if chance.happens(0.2) else "US;CA;GB;AU;DE;FR;JP;KR;NL",
        contractors="yes" if chance.happens(0.8 if vendor else 0.3) else "no",
        agents="yes" if chance.happens(0.8) else "no",
        seat_cap=max(3, organization.people * (80 + chance.below(60)) // 100) if chance.happens(0.9) else "",
    )


# --- people, agents, endpoints --------------------------------------------------------------------------------


def _staff(files: Files, chance: Chance, organization: Organization, before: int) -> None:
    """Everybody of one organization; so many people are of others before it."""
    for number in range(before + 1, before + 1 + organization.people):
        _person(files, chance, organization.slug, f"e-{number}")
        if chance.happens(AGENTS_PER_PERSON):
            _agent(files, chance, organization.slug, f"e-{number}", f"ag-{number}")
    for endpoint in range(1 + organization.people // PEOPLE_PER_ENDPOINT):
        attested = "yes" if endpoint == 0 or chance.happens(0.95) else "no"
        name = f"ep-{endpoint + 1}"
        files.add("endpoints", organization=organization.slug, external_id=name, name=f"Workstation {endpoint + 1}",
                  status="active", attested=attested)  # fmt: skip


def _person(files: Files, chance: Chance, organization: str, name: str) -> None:
    us_person = chance.weighed(US_PERSON)
    citizenships, residencies = _nationality(chance) if us_person == "no" else ("", "")
    approvers = [f"officer-{1 + chance.below(20)}", f"officer-{21 + chance.below(20)}"]
    files.add(
        "people",
        organization=organization,
        external_id=name,
        name=f"{chance.of(GIVENS)} {chance.of(FIRSTS).title()}{chance.of(SECONDS)}",
        email=f"{name}@{organization}.example",
        work_country=chance.weighed(WORK_COUNTRY),
        status="suspended" if chance.happens(0.005) else "active",
        employment=_employment(chance),
        us_person=us_person,
        us_basis=chance.weighed(US_BASIS) if us_person == "yes" else "",
        citizenships=citizenships,
        permanent_residencies=residencies,
        evidence_expires=_due(chance, 0.03, 1500) if us_person == "no" else "",
        training_expires=_due(chance, 0.04, 365),
        acceptable_use="no" if chance.happens(0.01) else "yes",
        technology_control_plan="no" if chance.happens(0.02) else "yes",
        approvals=";".join(approvers[: 1 if chance.happens(0.02) else 2]),
        requested_by=f"officer-{41 + chance.below(9)}",
        review_due=_due(chance, 0.02, 180),
    )
    age = 49 + chance.below(200) if chance.happens(0.01) else chance.below(40)
    if not chance.happens(0.003):
        _screening(files, organization, name, chance.weighed(SCREENING), f"now-{age}h")


def _employment(chance: Chance) -> str:
    if chance.happens(0.01):
        return "ended"
    return "contractor" if chance.happens(0.12) else "employee"


def _due(chance: Chance, lapsed: float, days: int) -> str:
    """A time to come within so many days; for a share of people one that has passed."""
    return f"now-{1 + chance.below(60)}d" if chance.happens(lapsed) else f"now+{2 + chance.below(days)}d"


def _nationality(chance: Chance) -> tuple[str, str]:
    """Citizenships and permanent residencies: one passport mostly, two for some, dates missing for a few."""
    first = chance.weighed(NATIONALITY)
    held = [_dated(chance, first, 1950 + chance.below(55))]
    if chance.happens(0.12):
        second = chance.weighed(NATIONALITY)
        if second != first:
            held.append(_dated(chance, second, 2006 + chance.below(19)))
    residency = ""
    if chance.happens(0.1):
        residency = _dated(chance, chance.weighed(NATIONALITY), 2006 + chance.below(19))
    return ";".join(held), residency


def _dated(chance: Chance, country: str, year: int) -> str:
    if chance.happens(0.01):
        return country
    return f"{country}@{year}-{1 + chance.below(12):02}-{1 + chance.below(28):02}"


def _agent(files: Files, chance: Chance, organization: str, sponsor: str, name: str) -> None:
    files.add(
        "agents",
        organization=organization,
        external_id=name,
        name=f"{chance.of(('Scanner', 'Patcher', 'Reviewer', 'Fuzzer'))} of {sponsor}",
        sponsor=sponsor,
        status="suspended" if chance.happens(0.01) else "active",
        scopes="vuln-discovery;patch-validation" if chance.happens(0.6) else "vuln-discovery",
        expires=_due(chance, 0.03, 30),
        runtime_country=chance.weighed(WORK_COUNTRY),
        depth=2 if chance.happens(0.01) else chance.below(2),
    )


def _screening(files: Files, organization: str, person: str, status: str, at: str) -> None:
    found = {"status": status, "screened_at": at, "list_version": "generated"}
    files.add("screenings", organization=organization, person=person, **found)


def kinds(folder: Path, order: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """The files of a folder in the order in which an import takes them: `people.csv`, `people-2.csv`, ...

    `Invalid` for any other CSV file: an old copy must not be taken, nor a misspelt name left out unsaid.
    """
    parts: dict[str, list[Path]] = {kind: [] for kind in order}
    for path in sorted(folder.glob("*.csv"), key=lambda path: (len(path.name), path.name)):
        kind = re.sub(r"-[0-9]+$", "", path.stem)
        if kind not in parts:
            raise Invalid(f"{path}: no file of an import: name it {', '.join(parts)}.csv, or take it away")
        parts[kind].append(path)
    for kind, paths in parts.items():
        yield from ((kind, path) for path in paths)
