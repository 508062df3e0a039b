"""CSV files: whatever Excel makes of them, and an error that says where and how to mend it. Pure."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from mythos_gate.registry import columns, csvfile
from mythos_gate.registry.columns import many
from mythos_gate.registry.grants import GRANTS
from mythos_gate.registry.imports import KINDS
from mythos_gate.registry.kind import Bad, Clock, Column, Country, InvalidFile, Kind, Problems, Row
from mythos_gate.registry.ownership import OWNERSHIPS
from mythos_gate.registry.people import PEOPLE, Nationality, approver, nationality
from mythos_gate.terms import GrantStatus

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLOCK = Clock(NOW)
THINGS = Kind(
    name="things",
    columns={
        "thing": Column(columns.name, required=True),
        "tags": Column(many(columns.name), default=[]),
        "work_country": Column(columns.country),
        "secret": Column(columns.flag, private=True),
    },
    key=("thing",),
)


def read(data: bytes | str, kind: Kind = THINGS) -> list[Row]:
    problems = Problems(kind)
    rows = csvfile.read(data if isinstance(data, bytes) else data.encode(), kind, CLOCK, problems)
    problems.end()
    return rows


def refusal(data: bytes | str, kind: Kind = THINGS) -> str:
    with pytest.raises(InvalidFile) as refused:
        read(data, kind)
    return str(refused.value)


# --- files that are fine --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "thing,tags\na,x\n",
        "tags,thing\nx,a\n",
        " Thing , TAGS\r\na, x \r\n",
        '\ufeff"thing";"tags"\r\n"a";"x"\r\n',
        "thing\ttags\na\tx",
        "thing,tags\ra,x\r",
        "\n\nthing,tags\n\n,\na,x\n   \n",
        "thing,tags\na,x\n".encode("utf-16"),
    ],
    ids=["plain", "other order", "case and space", "excel", "tabs", "old mac", "blank lines", "utf-16"],
)
def test_every_way_to_write_one_row(data: bytes | str) -> None:
    [row] = read(data)
    assert row.cells == {"thing": "a", "tags": ["x"]}


def test_a_header_name_with_a_space_is_the_column_with_an_underscore() -> None:
    assert Country("DE", "Germany") == read("thing;Work Country\na;Germany\n")[0].get("work_country")


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    assert [row.line for row in read("thing,tags\na,\n\nb,\n")] == [2, 4]


def test_a_column_that_is_missing_is_not_a_cell_that_is_empty() -> None:
    assert read("thing\na\n")[0].cells == {"thing": "a"}
    assert read("thing,tags\na,\n")[0].cells == {"thing": "a", "tags": []}


# --- files that are not ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"thing,tags\na,\xe9\n", "things.csv line 2: the file is not UTF-8, or is damaged: save it as CSV UTF-8"),
        (
            "thing,tags\n".encode("utf-16-le"),
            "things.csv: the file looks like UTF-16 without a byte order mark: save it as CSV UTF-8",
        ),
        (
            b"",
            (
                "things.csv line 1: the first line does not name the columns:"
                " begin with a header line: thing, tags, work_country, secret"
            ),
        ),
        ("thing,tagz\n", "things.csv line 1: 'tagz' is no column of this file: did you mean tags?"),
        ("thing,thing\n", "things.csv line 1, column thing: this column is there twice: remove one of the two"),
        ("tags\n", "things.csv line 1, column thing: this column is missing: add it"),
        (
            "thing,tags\na,x,y\n",
            (
                "things.csv line 2: this row has 3 cells, the header 2:"
                " put cells that contain the delimiter in quotes, or separate lists by |"
            ),
        ),
        (
            "thing,tags\na\n",
            (
                "things.csv line 2: this row has 1 cells, the header 2:"
                " put cells that contain the delimiter in quotes, or separate lists by |"
            ),
        ),
        (
            'thing,tags\na,"x\nb,y\n',
            "things.csv line 2: the quotes of this row do not match: close every quote; double one inside",
        ),
        ("thing,tags\n,x\n", "things.csv line 2, column thing: must not be empty: fill it in"),
        ("thing\na\nb\na\n", "things.csv line 4, column thing: 'a' is in line 2 already: keep one of the two"),
        (
            "thing,tags\na,x\0y\n",
            "things.csv line 2, column tags: 'x\ufffdy' contains a control character or a line break: remove it",
        ),
        (
            "thing,work_country\na,Atlantis\n",
            "things.csv line 2, column work_country: 'Atlantis' is no country: use an ISO 3166 code or an English name",
        ),
        ("thing,secret\na,maybe\n", "things.csv line 2, column secret: this value is neither yes nor no: use yes,"),
        ("thing,tags\na,x;y z\n", "things.csv line 2, column tags: 'y z' cannot be used as a name here: use letters,"),
        (
            f"thing,tags\na,{'x' * 2001}\n",
            f"things.csv line 2, column tags: '{'x' * 59}…' has an entry of more than 2000",
        ),
        (f"thing\n{'x' * 129}\n", f"things.csv line 2, column thing: '{'x' * 59}…' is longer than 128 characters"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_a_remedy(data: bytes | str, message: str) -> None:
    assert refusal(data).startswith(message)


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    with pytest.raises(InvalidFile) as refused:
        read("thing,work_country\na,Atlantis\n,DE\na,DE\n")
    assert [problem.line for problem in refused.value.problems] == [2, 3, 4]


def test_at_most_a_hundred_problems_are_told() -> None:
    with pytest.raises(InvalidFile) as refused:
        read("thing\n" + "!\n" * 300)
    assert len(refused.value.problems) == 100


def test_a_file_without_a_header_shows_nobodys_data() -> None:
    assert "Jane" not in refusal("acme,p-1,Jane Doe\n", PEOPLE)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (PEOPLE, "organization,external_id,employment,evidence_expires\nacme,p-1,employee,Roe\n"),
        (OWNERSHIPS, "organization,owner,percent\nacme,Jane Roe,1\nacme,Jane Roe,2\n"),
    ],
    ids=["when evidence ends", "an owner"],
)
def test_what_may_be_of_a_person_is_not_shown(kind: Kind, data: str) -> None:
    assert "Roe" not in refusal(data, kind)


def test_an_email_address_is_shown_from_no_column() -> None:
    assert "jane" not in refusal("thing,work_country\na,jane@example.com\n")


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvfile, "MOST_ROWS", 2)
    assert "line 4: a file has at most 2 rows: split it" in refusal("thing\na\nb\nc\n")


@pytest.mark.parametrize(
    "text",
    ["sep=;\r\nthing;tags\r\na;x\r\n", "thing,tags,,\na,x,,\n", "thing,tags,\na,x\n", "thing\ttags\t\na\tx\t\n"],
    ids=["a line that names the delimiter", "empty columns at the right", "in the header alone", "with tabs"],
)
def test_what_a_spreadsheet_adds_is_passed_over(text: str) -> None:
    [row] = read(text)
    assert row.cells == {"thing": "a", "tags": ["x"]}


def test_a_line_is_counted_as_the_file_has_it() -> None:
    with pytest.raises(InvalidFile, match="line 3, column thing"):
        read("sep=,\nthing,tags\n/,x\n")


def test_a_cell_beyond_the_modules_own_limit_is_too_long() -> None:
    with pytest.raises(InvalidFile, match="is longer than 100000 characters"):
        read(f"thing,tags\na,{'x' * 200_000}\n")


def test_a_cell_without_a_column_is_refused() -> None:
    with pytest.raises(InvalidFile, match="3 cells, the header 2"):
        read("thing,tags\na,x,y\n")


# --- cells ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T18:00:00Z", datetime(2026, 1, 31, 18, tzinfo=UTC)),
        ("2026-01-31t18:00:00.5+02:00", datetime(2026, 1, 31, 16, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert expected == columns.time(text, CLOCK)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T18:00:00", "31.01.2026", "2026-02-30", "20260131", "0001-01-01T00:00:00+14:00", "now", "now+99999d"],
)
def test_no_times(text: str) -> None:
    with pytest.raises(Bad):
        columns.time(text, CLOCK)


@pytest.mark.parametrize(
    ("text", "distance"),
    [
        ("now", timedelta()),
        ("now-5d", timedelta(days=-5)),
        ("now+90d", timedelta(days=90)),
        ("NOW-2h", timedelta(hours=-2)),
        ("now+30m", timedelta(minutes=30)),
    ],
)
def test_relative_times_where_they_are_allowed(text: str, distance: timedelta) -> None:
    assert NOW + distance == columns.time(text, Clock(NOW, relative=True))


@pytest.mark.parametrize("text", ["now+1y", "now 1d", "now+999999d+1d"])
def test_no_relative_times(text: str) -> None:
    with pytest.raises(Bad):
        columns.time(text, Clock(NOW, relative=True))


@pytest.mark.parametrize(
    ("text", "expected"), [("yes", True), ("TRUE", True), ("1", True), ("No", False), ("0", False)]
)
def test_flags(text: str, expected: bool) -> None:
    assert expected is columns.flag(text, CLOCK)


def test_lists_take_both_separators_and_count_twice_named_once() -> None:
    assert many(columns.name)(" a ;b|c;;a ", CLOCK) == ["a", "b", "c"]


def test_values_are_read_in_any_case_and_listed_when_wrong() -> None:
    parse = columns.one_of(GrantStatus)
    assert parse("Draft", CLOCK) == GrantStatus.DRAFT
    with pytest.raises(Bad) as bad:
        parse("open", CLOCK)
    assert bad.value.remedy == "use draft, active, suspended, revoked"


@pytest.mark.parametrize(
    ("text", "remedy"), [("5.1.0", "use 5.1, which names every 5.1.x"), ("five", "use MAJOR.MINOR, like 5.1")]
)
def test_a_version_is_major_minor(text: str, remedy: str) -> None:
    assert columns.version("5.1", CLOCK) == "5.1"
    with pytest.raises(Bad) as bad:
        columns.version(text, CLOCK)
    assert remedy == bad.value.remedy


def test_percentages() -> None:
    assert Decimal("12.5") == columns.percent("12,5", CLOCK)
    for text in ("0", "100.1", "-1", "half", "1e1", "\N{ARABIC-INDIC DIGIT FIVE}0"):
        with pytest.raises(Bad):
            columns.percent(text, CLOCK)


def test_excluded_groups_are_groups_or_macau() -> None:
    parse = GRANTS.columns["excluded_groups"].parse
    assert parse("e:1|D:5;mo", CLOCK) == ["E:1", "D:5", "MO"]
    with pytest.raises(Bad, match="country group"):
        parse("HK", CLOCK)


def test_allowed_countries_are_countries_of_today_or_all() -> None:
    parse = GRANTS.columns["allowed_countries"].parse
    assert parse("*;UK;Kosovo", CLOCK) == ["*", "GB", "XK"]
    with pytest.raises(Bad):
        parse("Soviet Union", CLOCK)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Germany", Nationality(Country("DE", "Germany"))),
        ("CA@1991-01-01", Nationality(Country("CA", "CA"), date(1991, 1, 1))),
        ("CA@1984-01-01..2019-09-01", Nationality(Country("CA", "CA"), date(1984, 1, 1), date(2019, 9, 1))),
        ("CA@..2019-09-01", Nationality(Country("CA", "CA"), None, date(2019, 9, 1))),
        ("Atlantis", Nationality(Country("ATLANTIS", "Atlantis"))),
    ],
)
def test_nationalities(text: str, expected: Nationality) -> None:
    assert expected == nationality(text, CLOCK)


@pytest.mark.parametrize("text", ["@1991-01-01", "CA@1991", "CA@2019-01-01..1984-01-01", "CA@now"])
def test_no_nationalities(text: str) -> None:
    with pytest.raises(Bad):
        nationality(text, CLOCK)


@pytest.mark.parametrize("text", ["per_1", "PER_1", "acme/per_1", "Jane Doe"])
def test_an_approver_is_named_by_an_external_id(text: str) -> None:
    with pytest.raises(Bad):
        approver(text, CLOCK)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_column_of_a_kind_has_a_place_to_go(kind: Kind) -> None:
    """By its name, or by a part's own `records`; a misspelt column would be dropped in silence."""
    stored = {name for part in kind.parts for name in part.table.c.keys()}  # noqa: SIM118
    lists = {"listed_people", "exempt_organizations", "approvals", "citizenships", "permanent_residencies", "target"}
    assert kind.columns
    for name, column in kind.columns.items():
        assert (column.into or name) in stored | lists
