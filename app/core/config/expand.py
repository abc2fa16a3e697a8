"""`${VARIABLE}` and `${VARIABLE:-default}` in a text; `$$` is a dollar sign, any other `$` stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{[^}]*\}?))")


class Unexpandable(ValueError):
    """A reference that cannot be replaced; `remedy` says what to do."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(fact)
        self.remedy = remedy


def is_reference(text: str) -> bool:
    """Whether the whole text is one reference."""
    found = _REFERENCE.fullmatch(text)
    return found is not None and found[1] is not None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its references replaced; an empty variable is an unset one. Raises Unexpandable."""

    def replaced(found: re.Match[str]) -> str:
        name, default, wrong = found.groups()
        if wrong is not None:
            raise Unexpandable(f"${wrong} names no variable", "Write ${NAME} or ${NAME:-default}, and $$ for a $.")
        if name is None:
            return "$"
        value = variables.get(name) or default
        if value is None:
            raise Unexpandable(f"the variable {name} is not set", f"Set it, or write ${{{name}:-default}}.")
        return value

    return _REFERENCE.sub(replaced, text)
