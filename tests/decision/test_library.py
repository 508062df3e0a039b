"""Policies are built beside the answers that are given meanwhile, and once for all who wait."""

import asyncio
import threading
import time

import pytest

from mythos_gate.decision import library
from mythos_gate.decision.library import Library

pytestmark = pytest.mark.anyio


@pytest.fixture
def building(monkeypatch):
    """The threads in which a policy was built."""
    seen = []

    def build(files):
        seen.append(threading.current_thread())
        time.sleep(0.05)
        if files == "bad":
            raise ValueError(files)
        return files

    monkeypatch.setattr(library, "_built", build)
    return seen


async def test_others_are_answered_while_a_policy_is_built(building):
    waiting = asyncio.ensure_future(Library()._build("a"))
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 5
    assert building != [threading.main_thread()]


async def test_who_waits_for_the_same_waits_for_one(building):
    books = Library()
    assert {str(each) for each in await asyncio.gather(*(books._build("a") for _ in range(5)))} == {"a"}
    assert len(building) == 1
    assert books._under_way == {}


async def test_who_gives_up_takes_nothing_from_the_others(building):
    books = Library()
    first, second = (asyncio.ensure_future(books._build("a")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert str(await second) == "a"
    assert len(building) == 1


async def test_one_that_cannot_be_built_is_told_to_all_and_tried_again(building):
    books = Library()
    for turn in (1, 2):
        told = await asyncio.gather(*(books._build("bad") for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in told] == [ValueError] * 2
        assert len(building) == turn
