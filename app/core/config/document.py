"""Print config.yaml from the model: every setting with its sentence, those at their default commented out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from app.core.config.model import Settings

_HEAD = """\
# Every setting of the fleet. A line that starts with "#" and a key shows the default: take the "# " away to change it.
# Printed by `fleet config`; precedence: command line > FLEET_* > TEMPORAL_* > this file > default.
# A variable's name is the path in capitals, e.g. FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S=30.
"""

_EXAMPLE = {
    ("queues",): "# orders: {scaling: {max_replicas: 30}, worker: {drain_timeout_s: 120}}",
    ("temporal", "activity"): "# charge_payment: {retry: {maximum_attempts: 3}}",
}


def config_yaml(settings: Settings) -> str:
    """The text of config.yaml that gives `settings`: stable, so that a stale file can be told by comparison."""
    return _HEAD + "".join(f"{line}\n" for line in _section(settings, Settings(), (), 0))


def _section(values: BaseModel, defaults: BaseModel, path: tuple[str, ...], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in type(values).model_fields.items():
        value, default = getattr(values, name), getattr(defaults, name)
        here = (*path, name)
        if depth == 0:
            yield ""
        yield f"{pad}# {field.description}"
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _section(value, default, here, depth + 1)
        elif isinstance(value, dict):
            yield f"{pad}{name}:" if depth == 0 or value else f"{pad}# {name}:"
            yield from (f"{pad}  {key}: {_scalar(item)}" for key, item in value.items())
            if not value:
                yield f"{pad}{'  ' if depth == 0 else '#   '}{_EXAMPLE[here].removeprefix('# ' if depth else '')}"
        else:
            yield f"{pad}{'' if value != default else '# '}{name}: {_scalar(value)}".rstrip()


def _scalar(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)
