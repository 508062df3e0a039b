"""Text as callers may send it: bounded, and storable in Postgres."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, Field, StrictStr


def _storable(text: str) -> str:
    # Postgres refuses U+0000, UTF-8 a lone surrogate: either would fail a whole batch of the log.
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not hold U+0000 or a lone surrogate")
    return text


Text = Annotated[StrictStr, Field(max_length=256), AfterValidator(_storable)]
Name = Annotated[Text, Path()]  # what a path names: a gate's id, a slug, or `ORGANIZATION/EXTERNAL_ID`
