"""Lock-out: wrong keys are put off and cost nothing; the right one is looked at, whatever others send."""

import random

import pytest

from mythos_gate.authn.api_keys import Presented
from mythos_gate.authn.lockout import FRESH, MOST, MOST_OF_ALL, REMEMBERED, SPAN, SPAN_OF_ALL, Lockout
from mythos_gate.errors import LockedOut

RIGHT, WRONG = Presented("a", b"r" * 32), Presented("a", b"w" * 32)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lockout(clock):
    return Lockout(clock)


def fail(lockout, identifier="a", times=MOST + 1):
    """Whether the last was one too many."""
    for _ in range(times):
        try:
            lockout.failed(identifier)
            late = False
        except LockedOut:
            late = True
    return late


def refused(lockout, presented):
    try:
        lockout.admit(presented)
    except LockedOut as error:
        assert 1 <= error.seconds <= SPAN
        return True
    return False


def test_a_few_slips_are_told_as_such(lockout):
    assert fail(lockout, times=MOST) is False
    assert not lockout.wants("a")
    assert fail(lockout, times=1) is True


def test_then_wrong_keys_are_refused_unseen_and_the_right_one_is_looked_at(lockout):
    fail(lockout)
    assert lockout.wants("a")
    lockout.learn({"a": RIGHT.hash})
    assert (refused(lockout, WRONG), refused(lockout, RIGHT)) == (True, False)
    assert not refused(lockout, Presented("b", b"x" * 32))


def test_until_the_hashes_are_there_nobody_is_refused_unseen(lockout):
    fail(lockout)
    assert lockout.wants("a")
    assert not lockout.wants("a")  # one is reading them
    assert not refused(lockout, WRONG)


def test_it_ends_by_itself(lockout, clock):
    fail(lockout)
    lockout.wants("a")
    lockout.learn({})
    clock.now += SPAN - 0.1
    assert refused(lockout, WRONG)
    clock.now += 0.2
    assert not refused(lockout, WRONG)
    assert fail(lockout, times=1) is False


def test_a_new_key_waits_for_a_few_seconds_at_most(lockout, clock):
    fail(lockout)
    lockout.wants("a")
    lockout.learn({})
    assert refused(lockout, RIGHT)
    clock.now += FRESH
    assert lockout.wants("a")
    lockout.learn({"a": RIGHT.hash})
    assert not refused(lockout, RIGHT)


def test_a_flood_of_invented_ids_locks_out_no_key_that_there_is(lockout, clock):
    for number in range(MOST_OF_ALL + 1):
        fail(lockout, f"invented-{number}", 1)
    assert lockout.wants("a")
    lockout.learn({"a": RIGHT.hash})
    assert refused(lockout, Presented("invented-x", b"x" * 32))
    assert refused(lockout, WRONG)
    assert not refused(lockout, RIGHT)
    clock.now += SPAN_OF_ALL
    assert not refused(lockout, WRONG)


def test_memory_is_bounded(lockout):
    for number in range(REMEMBERED + 500):
        fail(lockout, str(number), 1)
    assert len(lockout._counts) == REMEMBERED


@pytest.mark.parametrize("seed", range(20))
def test_whatever_others_send_the_right_key_is_never_refused(lockout, clock, seed):
    """Hashes are read when they are asked for, as `deps.authenticate` does."""
    chance = random.Random(seed)
    seen = 0
    for _ in range(3_000):
        clock.now += chance.choice([0, 0, 0.001, 0.1, 20 * chance.random()])
        presented = chance.choice([RIGHT, WRONG, WRONG, Presented(str(chance.randrange(200)), b"x" * 32)])
        if lockout.wants(presented.id):
            lockout.learn({"a": RIGHT.hash})
        if refused(lockout, presented):
            assert presented is not RIGHT
            seen += 1
        elif presented is not RIGHT:
            fail(lockout, presented.id, 1)
    assert seen
