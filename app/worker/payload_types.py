"""The types that values are converted to, as pydantic sees them; where it never can, its own words say so early.

Most that pydantic does not know is left alone: a converter that the user brings may know it. A `TypedDict` that it
refuses on this Python is another matter: there a workflow task fails for ever, and its run waits.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter


class UnfitType(TypeError):
    """Pydantic refuses this type, whatever the value."""


def adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks values of `hint`; None where pydantic does not know it. Raises UnfitType."""
    # A model brings a config of its own and refuses ours; what pydantic does not know at all is not looked at.
    for config in (ConfigDict(arbitrary_types_allowed=True), None):
        try:
            return TypeAdapter(hint, config=config)
        except PydanticUserError as error:
            if error.code == "typed-dict-version":
                raise UnfitType(error.message) from None
    return None
