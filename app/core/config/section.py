"""What every section of the settings shares: frozen through and through, unknown keys refused.

A frozen pydantic model still lends out its dictionaries, and one that is changed would change a running process's
options without a check. `FrozenDict` closes that: it is a dict to pydantic, json and `==`, and refuses every change.
(A MappingProxyType was rejected: it can be neither copied, pickled nor printed as JSON.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

V = TypeVar("V")

TEN_YEARS_S = 10 * 365 * 86400
Seconds = Annotated[float, Field(gt=0, le=TEN_YEARS_S)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _refuse(*_arguments: Any, **_keywords: Any) -> NoReturn:
    raise TypeError("settings are frozen: load them anew, or make a copy with model_copy(update=...)")


_REFUSED: Any = _refuse


class FrozenDict(dict[str, V]):
    """A dict that refuses every change, in what it holds too."""

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = setdefault = clear = _REFUSED

    def __copy__(self) -> FrozenDict[V]:
        return self

    def __deepcopy__(self, _memo: object) -> FrozenDict[V]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def frozen(value: Any) -> Any:
    """`value` with every dict and list in it made unchangeable."""
    if isinstance(value, Mapping):
        return FrozenDict({str(key): frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


Table = Annotated[dict[str, V], AfterValidator(frozen)]
"""A dictionary of settings; keys are names that the user chose."""


class Section(BaseModel):
    """A group of settings."""

    # Without its input, an error of a secret does not show it.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
