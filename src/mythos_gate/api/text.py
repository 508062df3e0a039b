"""Text and times as callers may send them: bounded, and storable in Postgres."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StrictStr


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is no time that can be told in UTC") from error


def _text(value: object) -> object:
    if not isinstance(value, str) or "-" not in value:
        raise ValueError(
            "must be a time like 2026-01-31T18:00:00Z (RFC 3339)"
        )  # a number would be taken for one as well
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_in_utc)]
# Postgres refuses U+0000, UTF-8 a lone surrogate: either would fail a whole batch of the log.
LONGEST = 256
Text = Annotated[StrictStr, Field(max_length=LONGEST, pattern=r"^[^\x00]*$")]
Name = Annotated[Text, Path()]  # what a path names: a gate's id, a slug, or `ORGANIZATION/EXTERNAL_ID`


def is_text(value: object) -> bool:
    """Whether it is a `Text`, of what was parsed from UTF-8: that has no lone surrogate."""
    return type(value) is str and len(value) <= LONGEST and "\x00" not in value
