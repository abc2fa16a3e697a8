"""Print docs/configuration.md: how settings are read, and every key, from the model and the tables that the code reads.

Only what has no table stands here as text. The YAML blocks of the result are loaded by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.core.config import classic, sdk
from app.core.config.keys import Group, Key, groups
from app.core.config.resolve import OF_A_QUEUE

_HEAD = """\
# Configuration

<!-- Printed by `fleet config --markdown` from the model in app/core/config; `make docs` writes it anew. -->

Everything has a default, so an empty configuration is a valid one. `fleet config` prints config.yaml with every setting
and its sentence; the keys are listed [below](#keys). Settings are read once, when a process starts, and never change
after that. A wrong one ends the process with code 2 before it does anything; every problem is listed, with its place:

```text
config.yaml:2: temporal.adress: there is no such setting. Did you mean address?
FLEET_API__PORT: api.port: Input should be less than or equal to 65535
```

## Where a value comes from

The first source that says something about a key decides it; each key is decided for itself.

| | source | example |
|---|---|---|
| 1 | command line | `serve --drain-timeout 30` |
| 2 | `FLEET_*` variables | `FLEET_TEMPORAL__ADDRESS=temporal:7233` |
| 3 | `TEMPORAL_*` variables, the SDK's own | `TEMPORAL_ADDRESS=temporal:7233` |
| 4 | config.yaml | `temporal: {address: "temporal:7233"}` |
| 5 | a profile of temporal.toml | `address = "temporal:7233"` |
| 6 | default | |

What a queue or an activity says wins over the fleet-wide value, also where the latter comes from a variable; the
command line wins over all of them.

An empty variable says nothing. Where two keys are two ways to say one thing (`api_key` and `api_key_file`; `*_data` and
`*_file` of TLS), the higher source silences the other one, if its value is not empty.

### Files

`--config FILE`, else the files that `FLEET_CONFIG` names, else ./config.yaml where it exists. `FLEET_CONFIG` may name
several, separated by `:` as in PATH. Each is laid over those before it, key by key, and an empty name is ./config.yaml:
with `FLEET_CONFIG=:/etc/worker-fleet/config.yaml` an image keeps what its code needs, and an environment says only what
is different there. The Helm chart does that with its value `config`.

```yaml
temporal:
  namespace: shop
  activities:
    start_to_close_timeout_s: 60        # one attempt of any activity
    retry: {maximum_attempts: 5}
  activity:
    charge_payment: {start_to_close_timeout_s: 10}
queues:
  orders:
    worker: {max_concurrent_activities: 50, drain_timeout_s: 120}
    scaling: {max_replicas: 30}
```

An activity gets its own entry in `temporal.activity` over the `activities` of its queue over `temporal.activities`,
key by key; what the activity itself declares wins over all three, and a keyword at the call over that
([usage](usage.md#what-a-drain-does-with-an-activity)). An activity that has not heard of a lost worker goes on
"running" until its start-to-close timeout: a short one, or a heartbeat, is what makes retries quick.

Workflows have no execution and run timeout by default. A run timeout ends the run without giving its code a chance to
clean up, so prefer timers in the workflow. Who wants them says so:

```yaml
temporal:
  workflows:
    execution_timeout_s: 86400  # 24 hours
    run_timeout_s: 7200         # 2 hours
```

### Variables in a file

`${NAME}` stands for a variable and `${NAME:-default}` for it or, where it is unset or empty, for the default; `$$` is
a dollar sign. A value may be one or hold several. `${NAME}` alone, without quotes, may be a number, a switch or `null`,
and one that comes out empty says nothing. A variable that is not set and has no default is a problem, told with its
line. Inside `{ }` and `[ ]` it needs quotes. A top-level key that begins with `x-` is passed over: it is there for its
anchor.

```yaml
temporal:
  address: ${TEMPORAL_HOST:-temporal}:7233
  worker:
    max_concurrent_activities: ${SLOTS:-20}
```

### FLEET_* variables

A key's path in capitals, its steps joined by two underscores. Lists and tables are JSON; a queue's or an
activity's name in JSON keeps its case. A variable's name has none: `FLEET_QUEUES__ORDERS__...` is of the queue
`orders`, and one in mixed case is refused.

```bash
FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S=30
FLEET_TEMPORAL__WORKER__PACKAGES='["shop.workflows", "shop.activities"]'
FLEET_QUEUES='{"orders": {"worker": {"max_concurrent_activities": 50}}}'
```
"""

_SDK = """\
### TEMPORAL_* variables and temporal.toml

The names of `temporalio.envconfig`, and the two that the Temporal Worker Controller sets.

{variables}

`TEMPORAL_GRPC_META_X_TENANT=blue` adds the header `x-tenant`, as `temporal.grpc_metadata` does. `{file}` names
another temporal.toml than the SDK's own (`~/.config/temporalio/temporal.toml` on Linux). `temporal.profile` chooses the
profile; without one it is `default`, which need not exist. `fleet dev` has a server of its own and leaves all of them
alone.

Not here, because the SDK for Python has no way to do it: the remote codec (`TEMPORAL_CODEC_*`, `codec`), which is
passed over, and `TEMPORAL_TLS_DISABLE_HOST_VERIFICATION` (`disable_host_verification`), which is refused.

```yaml
temporal:
  address: shop.a1b2c.tmprl.cloud:7233
  namespace: shop.a1b2c
  api_key_file: ${{API_KEY_FILE:-}}        # an API key turns TLS on
```

### Names of the classic example

A file may use the names of the example that this project is modelled on, also below its one top-level key `config:`. A
classic name beside today's is a problem that names both.

{renamed}

These have no meaning here, and are refused with the reason:

{refused}

## What must fit together

- An activity's start-to-close timeout must not be above its schedule-to-close timeout, and a heartbeat timeout must be
  below start-to-close. The same after a queue's and an activity's overrides.
- A retry's maximum interval must not be below its initial one.
- drain + unwind + 4 s to release what is stuck + flush must fit `temporal.worker.termination_grace_s`, which the Helm
  chart sets to the pod's terminationGracePeriodSeconds.
- What an activity promises of a drain (`on_drain`) must fit `drain_timeout_s` of its queue, its timeouts and its
  retries; see [usage](usage.md#what-a-drain-does-with-an-activity).
- Files of certificates and keys must be there and readable, for processes that connect to Temporal.
- Warned of, and not refused: one attempt (`retry.maximum_attempts: 1`) on an activity, because a worker that leaves in
  the middle of it then fails it for good; an API key over a connection without TLS; activities that promise nothing and
  may take longer than a drain; hours without a heartbeat.

## Keys

All times are in seconds unless the name ends in `_ms`. A queue may have these of `temporal.worker` for itself:
{of_a_queue}.
"""


def configuration_md() -> str:
    """The text of docs/configuration.md: stable, so that a stale file can be told by comparison."""
    tail = _SDK.format(
        variables=_table(
            ("variable", "key"), ((f"`{n}`", f"`{'.'.join(map(str, loc))}`") for n, loc in sdk.NAMES.items())
        ),
        file=sdk.FILE_VARIABLE,
        renamed=_table(("classic", "today"), _renamed()),
        refused=_table(
            ("classic", "why", "instead"), ((f"`{s}.{name}`", *said) for (s, name), said in classic.REFUSED.items())
        ),
        of_a_queue=", ".join(f"`{key}`" for key in OF_A_QUEUE),
    )
    return "\n".join([_HEAD, tail, *(_section(group) for group in groups())])


def _renamed() -> Iterator[tuple[str, str]]:
    for (section, name), today in classic.RENAMED.items():
        yield f"`{section}.{name}`", f"`{section}.{today}`"
    for (section, name), today in classic.SWITCHES.items():
        yield f"`{section}.{name}: true` or `false`", f"`{section}.{name}.{today}`"


def _section(group: Group) -> str:
    rows = ((f"`{key.path[-1]}`", key.type, _default(key), key.bounds, key.sentence) for key in group.keys)
    title = f"`{'.'.join(group.path)}`" if group.path else "Top level"
    prefix = group.keys[0].variable.removesuffix(group.keys[0].path[-1].upper())
    table = _table(("key", "type", "default", "bounds", "meaning"), rows)
    return f"### {title}\n\n{group.sentence}\nVariables: `{prefix}` and the key in capitals.\n\n{table}\n"


def _default(key: Key) -> str:
    return f"`{key.default}`" if key.default else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
