"""Lists in pages: one more is read than is shown, and tells whether there is a next page."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=200)]


def paged(
    found: Sequence[T], limit: int, place: Callable[[T], str], shown: Callable[[T], Any] = lambda item: item
) -> dict[str, Any]:
    """`{"items", "next"}`: `next` is the place of the last item shown, null on the last page."""
    return {
        "items": [shown(item) for item in found[:limit]],
        "next": place(found[limit - 1]) if len(found) > limit else None,
    }
