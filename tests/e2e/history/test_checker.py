"""The checker itself, by histories made by hand."""

import pytest

from tests.e2e.history.checker import LATE, STALE, UNTRUE, Answer, Change, Checker, History, Stop, check

NOTHING: frozenset[str] = frozenset()
SUSPENDED = frozenset({"suspended"})
STOPPED = frozenset({"stopped"})
GONE = frozenset({"401"})
INFINITE = float("inf")


def change(sent, acknowledged, rows, lever="person"):
    return Change(lever, rows, sent, acknowledged)


def allow(sent, received, **more):
    return Answer("q", sent, received, True, NOTHING, **more)


def deny(sent, received, *rows, **more):
    return Answer("q", sent, received, False, frozenset(rows or ("suspended",)), **more)


def refused(sent, received, status="401"):
    return Answer("q", sent, received, False, frozenset({status}))


def found(answers, *changes, deadline=INFINITE, **more):
    history = History({"q": ("person", "stop", "key")}, changes, answers, deadline, 0.1, **more)
    return [finding.what for finding in check(history)]


SUSPENSION = change(2, 3, SUSPENDED)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (allow(0, 1), []),
        (deny(0, 1), [STALE]),
        (allow(3.5, 4), [STALE]),
        (deny(3.5, 4), []),
        (allow(1, 2.5), []),
        (deny(1, 2.5), []),
        (allow(2.9, 9), []),
        (deny(2.9, 9), []),
        (deny(1, 1.9), [STALE]),
        (deny(3.5, 4, "stopped"), [STALE]),
        (deny(3.5, 4, "suspended", "stopped"), [STALE]),
        (refused(3.5, 4), [STALE]),
    ],
)
def test_one_suspension(answer, wrong):
    assert found([answer], SUSPENSION, change(50, 51, STOPPED, "stop")) == wrong


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (allow(0, 1, bare=True), []),
        (Answer("q", 0, 1, False, NOTHING, bare=True), [STALE]),
        (allow(3.5, 4, bare=True), [STALE]),
        (Answer("q", 3.5, 4, False, NOTHING, bare=True), []),
        (Answer("q", 2.5, 4, False, NOTHING, bare=True), []),
        (allow(2.5, 4, bare=True), []),
        (allow(2.5, 4, bare=True, written=(3.2, 3.3)), [UNTRUE]),
    ],
)
def test_an_answer_that_tells_no_rows_is_held_to_whether_it_allows(answer, wrong):
    assert found([answer], SUSPENSION) == wrong


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [(deny(6.5, 7), [STALE]), (allow(6.5, 7), []), (deny(4, 5.5), []), (allow(4, 5.5), []), (allow(3.5, 4.9), [STALE])],
)
def test_a_suspension_that_is_lifted(answer, wrong):
    assert found([answer], SUSPENSION, change(5, 6, NOTHING)) == wrong


def test_a_lever_that_was_moved_and_moved_back_may_be_seen_in_between():
    changes = [change(2, 3, SUSPENDED), change(4, 5, NOTHING)]
    assert found([deny(1, 9), allow(1, 9)], *changes) == []


def test_two_states_that_never_held_together_are_no_state():
    """The stop was acknowledged before the suspension was lifted: at no time was nothing in the way."""
    changes = [SUSPENSION, change(4, 5, STOPPED, "stop"), change(6, 7, NOTHING)]
    assert found([allow(3.5, 8)], *changes) == [STALE]
    assert found([deny(3.5, 8), deny(3.5, 8, "suspended", "stopped"), deny(3.5, 8, "stopped")], *changes) == []


def test_a_stale_record_behind_another_denial_is_found():
    assert found([deny(4, 5, "stopped")], SUSPENSION, change(0, 1, STOPPED, "stop")) == [STALE]


def test_a_caller_that_is_refused_learns_nothing_else():
    changes = [change(0, 1, GONE, "key"), SUSPENSION]
    assert found([refused(4, 5)], *changes) == []
    assert found([deny(4, 5), allow(4, 5), refused(4, 5, "403")], *changes) == [STALE] * 3


def test_a_row_that_hides_another():
    changes, hides = [SUSPENSION, change(0, 1, STOPPED, "stop")], {"stopped": SUSPENDED}
    assert found([deny(4, 5, "stopped"), deny(4, 5, "stopped", "suspended")], *changes, hides=hides) == []


def test_where_a_lever_stands_at_the_start():
    assert found([allow(0, 1)], starts={"person": SUSPENDED}) == [STALE]
    assert found([deny(0, 1)], starts={"person": SUSPENDED}) == []


def test_an_answer_names_the_revision_that_was_in_force():
    starts = {"person": frozenset({"revision 1"})}
    second = change(2, 3, frozenset({"revision 2"}))
    named = [Answer("q", 4, 5, True, frozenset({f"revision {number}"})) for number in (1, 2)]
    assert found(named, second, starts=starts) == [STALE]


def test_an_answer_that_was_overtaken_before_its_entry_was_written():
    assert found([allow(1, 9, written=(4, 5))], SUSPENSION) == [UNTRUE]
    assert found([allow(1, 9, written=(2.5, 2.6)), deny(1, 9, written=(4, 5))], SUSPENSION) == []


def test_an_allow_that_is_written_after_an_expiry():
    expiry = Change("person", SUSPENDED, 2, 2.001, "training expires")
    assert found([allow(1.9, 2.1, written=(2.05, 2.06))], expiry) == [UNTRUE]
    assert found([allow(1.9, 2.1, written=(1.99, 2.06))], expiry) == []


def test_a_late_allow():
    assert found([allow(1, 5)], SUSPENSION, deadline=1.5) == [LATE]
    assert found([deny(1, 5), allow(1, 4.5)], SUSPENSION, deadline=1.5) == []
    assert (
        found([allow(1, 5)], change(0.1, 0.2, STOPPED, "stop"), change(4.8, 4.9, NOTHING, "stop"), deadline=1.5) == []
    )


def test_one_allow_of_a_stopped_process_may_be_late():
    stop = Stop(7, 2.5, 4.9)
    late = [allow(1, 5, process=7), allow(1, 5.1, process=7)]
    assert found(late[:1], SUSPENSION, deadline=1.5, stops=[stop]) == []
    assert found(late, SUSPENSION, deadline=1.5, stops=[stop]) == [LATE]
    assert found([allow(1, 5, process=8)], SUSPENSION, deadline=1.5, stops=[stop]) == [LATE]


def test_a_lever_is_moved_once_at_a_time():
    with pytest.raises(ValueError, match="moved twice at once"):
        found([], SUSPENSION, change(2.5, 4, NOTHING))


def test_when_a_change_is_first_seen():
    answers = [allow(1, 2.5), allow(2.2, 3.2), deny(2.9, 3.5), deny(4, 5), allow(6.5, 7), refused(8.5, 9)]
    changes = [SUSPENSION, change(5.5, 6, NOTHING), change(7.5, 8, GONE, "key"), change(20, 21, STOPPED, "stop")]
    history = History({"q": ("person", "stop", "key")}, changes, answers, INFINITE, 0.1)
    seen = {each.sent: time for each, time in Checker(history).reflections()}
    assert seen == {2: 0.5, 5.5: 1, 7.5: 1, 20: None}
