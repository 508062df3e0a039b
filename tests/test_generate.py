"""The generated programme: the same bytes for the same seed, in the proportions that are promised."""

import csv
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from mythos_gate import generate
from mythos_gate.errors import Invalid
from mythos_gate.registry import imports
from tests.service import Service, question

# Of 300 organizations, 30,000 people and seed 1, on whatever machine and version of Python.
DIGEST = "d76e76f5a90c19f57674a5a5b34de064935c8fc9c1c5ebead199af758af73c32"


def rows(folder: Path, kind: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{kind}.csv").read_text().splitlines()))


def digest(folder: Path) -> str:
    return sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate.write(folder, 300, 30_000, 1)
    return folder


def test_the_same_seed_gives_the_same_bytes(programme: Path, tmp_path: Path):
    assert digest(programme) == DIGEST
    generate.write(tmp_path, 300, 30_000, 2)
    assert digest(tmp_path) != DIGEST


def test_lists_sizes_and_countries_are_as_promised(programme: Path):
    grants = rows(programme, "grants")
    held = {
        name: {each["organization"] for each in grants if each["authority"] == name}
        for name in (generate.VENDOR, generate.GOVERNMENT)
    }
    vendor, government = held[generate.VENDOR], held[generate.GOVERNMENT]
    assert (len(vendor), len(government), len(vendor & government), len(vendor | government)) == (200, 130, 30, 300)
    people = rows(programme, "people")
    sizes = Counter(person["organization"] for person in people)
    assert (len(people), len(sizes), min(sizes.values())) == (30_000, 300, 3)
    assert max(sizes.values()) > 2_000
    passports = Counter(
        each.partition("@")[0] for person in people for each in person["citizenships"].split(";") if each
    )
    assert len(passports) >= 90
    assert passports["IN"] > passports["CN"] > passports["FR"] > passports["IS"] > 0


@pytest.mark.parametrize(
    ("kind", "column", "values", "least", "most"),
    [
        ("people", "us_person", {"yes"}, 0.6, 0.72),
        ("people", "us_basis", {"lpr"}, 0.05, 0.1),
        ("people", "us_person", {"unknown"}, 0.01, 0.03),
        ("people", "employment", {"contractor"}, 0.1, 0.14),
        ("people", "work_country", {"US"}, 0.7, 0.85),
        ("people", "status", {"suspended"}, 0.002, 0.01),
        ("screenings", "status", {"pending"}, 0.01, 0.02),
        ("agents", "status", {"suspended"}, 0.005, 0.02),
    ],
)
def test_shares_are_realistic(programme: Path, kind, column, values, least, most):
    found = rows(programme, kind)
    assert least < sum(row[column] in values for row in found) / len(found) < most


def test_there_are_dual_nationals_lapsed_trainings_and_agents(programme: Path):
    people = rows(programme, "people")
    foreign = [person for person in people if person["us_person"] == "no"]
    assert 0.05 < sum(";" in person["citizenships"] for person in foreign) / len(foreign) < 0.2
    assert 0.03 < sum(person["training_expires"].startswith("now-") for person in people) / len(people) < 0.05
    assert 6_000 < len(rows(programme, "agents")) < 9_000
    # Nationality records are kept only for people who are not US persons.
    assert not [person for person in people if person["us_person"] != "no" and person["citizenships"]]


def test_a_file_never_has_more_rows_than_an_import_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(generate, "MOST_ROWS", 100)
    counts = generate.write(tmp_path, 3, 250, 1)
    found = list(generate.kinds(tmp_path, imports.KINDS))
    assert [path.name for kind, path in found if kind == "people"] == ["people.csv", "people-2.csv", "people-3.csv"]
    assert sum(len(path.read_text().splitlines()) - 1 for kind, path in found if kind == "people") == 250
    assert counts["people"] == 250


def test_a_folder_with_files_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "people.csv").write_text("mine")
    with pytest.raises(Invalid, match=r"people.csv is there already"):
        generate.write(tmp_path, 3, 250, 1)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "name", ["people-old.csv", "grants-before-revocation.csv", "peoples.csv", "people-2-1.csv", "readme.csv"]
)
def test_a_file_of_no_kind_stops_an_import_of_its_folder(tmp_path: Path, name):
    for each in ("people.csv", "people-2.csv", "notes.txt", name):
        (tmp_path / each).write_text("")
    with pytest.raises(Invalid, match=name):
        list(generate.kinds(tmp_path, imports.KINDS))
    (tmp_path / name).unlink()
    assert [path.name for _, path in generate.kinds(tmp_path, imports.KINDS)] == ["people.csv", "people-2.csv"]


@pytest.mark.parametrize(("organizations", "people"), [(10, 29), (0, 10)])
def test_too_few_people_are_refused(tmp_path: Path, organizations, people):
    with pytest.raises(Invalid, match="at least"):
        generate.write(tmp_path / "x", organizations, people, 1)
    assert not (tmp_path / "x").exists()


async def _answers(service: Service, folder: Path, every: int) -> Counter[str]:
    """Import it, and ask for one person in so many and for as many agents."""
    for kind, path in generate.kinds(folder, imports.KINDS):
        async with service.gate.registry.change("imported", "test") as change:
            await imports.load(change, kind, path.read_bytes(), now=service.now, relative=True)
    told: Counter[str] = Counter()
    for kind, noun in (("people", "person"), ("agents", "agent")):
        for row in rows(folder, kind)[::every]:
            subject = f"{row['organization']}/{row['external_id']}"
            asked = question(subject, kind=noun, country=row.get("work_country") or "US")
            answer = await service.ask(asked)
            assert answer.status_code == 200, answer.text
            told[answer.json()["context"]["reason_admin"]["primary"]] += 1
    return told


@pytest.mark.anyio
async def test_a_small_one_is_imported_and_anybody_can_ask(database, tmp_path: Path):
    generate.write(tmp_path / "generated", 12, 300, 5)
    async with Service.running(database, tmp_path) as service:
        await service.prepare()
        told = await _answers(service, tmp_path / "generated", 3)
    assert told["ALLOW"] > 20
    assert len(told) >= 6
    assert "SUBJECT_UNKNOWN" not in told


@pytest.mark.anyio
@pytest.mark.integration
async def test_one_of_real_size_is_imported_and_anybody_can_ask(database, tmp_path: Path):
    generate.write(tmp_path / "generated", 60, 6_000, 1)
    async with Service.running(database, tmp_path) as service:
        await service.prepare()
        told = await _answers(service, tmp_path / "generated", 10)
    assert told["ALLOW"] > 100
    assert len(told) >= 15
    assert "SUBJECT_UNKNOWN" not in told
