"""Narrowing: which change of a member only takes access away, so that one officer suffices. Pure."""

from collections.abc import Callable
from typing import Any, TypeAlias

Narrows: TypeAlias = Callable[[Any, Any], bool]  # from the value before to the value after


def never(_: Any, __: Any) -> bool:
    """What could give access to somebody."""
    return False


def always(_: Any, __: Any) -> bool:
    """What decides nothing."""
    return True


def lower(before: Any, after: Any) -> bool:
    """A cap or an end, where none is no limit; an earlier beginning; a flag that permits."""
    return after is not None and (before is None or after <= before)


def higher(before: Any, after: Any) -> bool:
    """The end of an order, where none is for good; a later beginning; a flag that forbids."""
    return after is None or (before is not None and after >= before)


def fewer(before: Any, after: Any) -> bool:
    """A list of what is permitted."""
    return set(after or ()) <= set(before or ())


def more(before: Any, after: Any) -> bool:
    """A list of what is forbidden."""
    return set(after or ()) >= set(before or ())


def only(value: Any) -> Narrows:
    """The narrowest value of a vocabulary."""

    def narrows(_: Any, after: Any) -> bool:
        return bool(after == value)

    return narrows
