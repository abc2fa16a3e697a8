"""Print config.yaml from the model: every setting with its sentence, those at their default commented out."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, SecretStr

from app.core.config.keys import scalar
from app.core.config.model import Settings

_HEAD = """\
# Every setting of the fleet. A line that starts with "#" and a key shows the default: take the "# " away to change it.
# Printed by `fleet config`, explained in docs/configuration.md.
# Precedence: command line > FLEET_* > TEMPORAL_* > this file > profile of temporal.toml > default.
# A variable's name is the path in capitals, e.g. FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S=30.
# A value may hold ${VARIABLE} or ${VARIABLE:-default}; $$ is a dollar sign.
"""

_EXAMPLE = {
    ("queues",): "# orders: {scaling: {max_replicas: 30}, worker: {drain_timeout_s: 120}}",
    ("temporal", "activity"): "# charge_payment: {retry: {maximum_attempts: 3}}",
    ("temporal", "grpc_metadata"): '# authorization: "Bearer ${TOKEN}"',
}


_NOT_SHOWN = "(set; not shown)"


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
            shown = {key: item for key, item in value.items() if not isinstance(item, SecretStr)}
            yield f"{pad}{name}:" if depth == 0 or shown else f"{pad}# {name}:"
            yield from (f"{pad}  {key}: {scalar(item)}" for key, item in shown.items())
            yield from (f"{pad}#   {key}: {_NOT_SHOWN}" for key in value if key not in shown)
            if not value:
                yield f"{pad}{'  ' if depth == 0 else '#   '}{_EXAMPLE[here].removeprefix('# ' if depth else '')}"
        elif isinstance(value, SecretStr):
            yield f"{pad}# {name}: {_NOT_SHOWN if value else scalar('')}"
        else:
            yield f"{pad}{'' if value != default else '# '}{name}: {scalar(value)}".rstrip()
