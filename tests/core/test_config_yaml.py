"""What a YAML file may say: variables in values, the classic example's names, and the line of every mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.core.config import ConfigError, classic
from app.core.config.load import load_settings
from app.core.config.model import Settings

SEED = """\
temporal:
  workflows:
    execution_timeout_s: 86400  # 24 hours
    run_timeout_s: 7200         # 2 hours
    task_timeout_s: 10          # 10 seconds
  activities:
    start_to_close_timeout_s: 1200  # 20 minutes
    retry:
      maximum_attempts: 5
      backoff_coefficient: 2.0
"""

CLASSIC = """\
config:
  temporal:
    enabled: true
    url: "${TEMPORAL_URL:-temporal:7233}"
    namespace: "default"
    tls: false
    workflows:
      execution_timeout_s: 86400
      run_timeout_s: 7200
      task_timeout_s: 11
      retry:
        maximum_attempts: 2
        initial_interval_seconds: 6
    activities:
      start_to_close_timeout_s: 1100
      schedule_to_close_timeout_s: 3600
      heartbeat_timeout_s: 300
      retry:
        maximum_attempts: 5
        initial_interval_seconds: 5
        backoff_coefficient: 2.5
        maximum_interval_seconds: 61
    worker:
      activities_per_second: 10
      max_concurrent_activities: 101
      max_concurrent_workflow_tasks: 102
      workflow_cache_size: 103
      sticky_queue_schedule_to_start_timeout_ms: 10001
      worker_build_id: "api-worker-1"
      drain_timeout: 90
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def loaded(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load_settings(file=file)


def told(file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    return [str(problem).replace(f"{file}:", "") for problem in caught.value.problems]


def test_the_seeds_file_loads_verbatim(file: Path) -> None:
    temporal = loaded(file, SEED).temporal
    assert (temporal.workflows.execution_timeout_s, temporal.workflows.run_timeout_s) == (86400, 7200)
    assert temporal.workflows.task_timeout_s == 10
    assert temporal.activities.start_to_close_timeout_s == 1200
    assert (temporal.activities.retry.maximum_attempts, temporal.activities.retry.backoff_coefficient) == (5, 2)


def test_every_key_of_a_classic_file_arrives(file: Path) -> None:
    temporal = loaded(file, CLASSIC).temporal
    assert (temporal.address, temporal.tls.enabled, temporal.enabled) == ("temporal:7233", False, True)
    assert (temporal.workflows.task_timeout_s, temporal.workflows.retry.initial_interval_s) == (11, 6)
    assert temporal.activities.schedule_to_close_timeout_s == 3600
    retry = temporal.activities.retry
    assert (retry.initial_interval_s, retry.backoff_coefficient, retry.maximum_interval_s) == (5, 2.5, 61)
    worker = temporal.worker
    assert (worker.activities_per_second, worker.max_concurrent_activities) == (10, 101)
    assert (worker.max_concurrent_workflow_tasks, worker.workflow_cache_size) == (102, 103)
    assert worker.sticky_queue_schedule_to_start_timeout_ms == 10001
    assert (worker.build_id, worker.drain_timeout_s) == ("api-worker-1", 90)


@pytest.mark.parametrize(("section", "name"), sorted(classic.REFUSED))
def test_a_classic_key_without_a_meaning_is_refused_with_a_remedy(file: Path, section: str, name: str) -> None:
    text = {"temporal": f"temporal:\n  {name}: 1\n", "worker": f"temporal:\n  worker:\n    {name}: 1\n"}[section]
    (problem,) = told(file, text)
    fact, remedy = classic.REFUSED[section, name]
    path = "temporal" if section == "temporal" else "temporal.worker"
    assert problem == f"{text.count(chr(10))}: {path}.{name}: {fact}\n  {remedy}"


def test_a_classic_name_beside_todays_is_a_problem_that_names_both(file: Path) -> None:
    (problem,) = told(file, "temporal:\n  address: a:1\n  url: b:1\n")
    assert problem.splitlines() == [
        "3: temporal.address: said twice: as address (line 2) and as url",
        "  Keep address; the other is its classic name.",
    ]
    assert told(file, "temporal:\n  address: a:1\n  address: b:1\n") == [
        "3: temporal.address: said twice, in lines 2 and 3"
    ]


def test_what_stands_beside_a_classic_files_one_key_is_told(file: Path) -> None:
    (problem,) = told(file, "config:\n  temporal: {url: a:1}\napi: {port: 1}\n")
    assert problem.startswith("3: api: stands beside `config:`")


def test_a_wrong_value_below_a_classic_name_is_told_by_todays_name_and_its_line(file: Path) -> None:
    assert told(file, "config:\n  temporal:\n    url: nonsense\n")[0].startswith("3: temporal.address: ")


def test_variables_stand_for_values_and_parts_of_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "there", "SLOTS": "7", "YES": "true", "DIGITS": "0123", "VOID": ""}.items():
        monkeypatch.setenv(name, value)
    settings = loaded(
        file,
        "temporal:\n  address: ${HOST}:${PORT:-7233}\n  enabled: ${YES}\n  namespace: ${DIGITS}\n"
        "  activities: {retry: {non_retryable_error_types: ['${HOST}', 'b']}}\n"
        "  worker:\n    max_concurrent_activities: ${SLOTS}\n    heartbeat_interval_s: ${BEAT:-2.5}\n"
        "    activities_per_second: ${RATE:-null}\n    build_id: ${VOID:-of-the-default}\n    identity: ${VOID:-}\n"
        "    versioning: off\n"
        "queues: {q: {worker: {max_concurrent_activities: '${SLOTS}'}}}\n"
        "ledger: {url: 'a$$b$c'}\n",
    )
    temporal, worker = settings.temporal, settings.temporal.worker
    assert (temporal.address, temporal.enabled, temporal.namespace) == ("there:7233", True, "0123")
    assert (worker.max_concurrent_activities, worker.heartbeat_interval_s) == (7, 2.5)
    assert (worker.activities_per_second, worker.build_id, worker.identity) == (None, "of-the-default", "")
    assert temporal.activities.retry.non_retryable_error_types == ("there", "b")
    assert settings.ledger.url.get_secret_value() == "a$b$c"


def test_variables_that_are_not_there_are_all_told_with_their_lines(file: Path) -> None:
    text = "temporal:\n  address: x:${GONE}\n  namespace: ${GONE_TOO}\n  adress: 1\nledger: {url: '${1}'}\n"
    assert told(file, text) == [
        "2: temporal.address: the variable GONE is not set\n  Set it, or write ${GONE:-default}.",
        "3: temporal.namespace: the variable GONE_TOO is not set\n  Set it, or write ${GONE_TOO:-default}.",
        "5: ledger.url: ${1} names no variable\n  Write ${NAME} or ${NAME:-default}, and $$ for a $.",
        "4: temporal.adress: there is no such setting. Did you mean address?",
    ]


@pytest.mark.parametrize(
    "text", ["temporal: {namespace: ${NAME}}\n", "temporal: {\n  namespace: ${NAME:-x},\n}\n", "a: [${NAME}]\n"]
)
def test_a_variable_in_brackets_and_without_quotes_is_told_to_take_some(file: Path, text: str) -> None:
    (problem,) = told(file, text)
    line = 2 if text.count("\n") > 1 else 1
    assert problem.startswith(f"{line}: not YAML: ")
    assert problem.endswith("\n  Put ${...} in quotes: inside { } and [ ], YAML reads its braces as its own.")
    loaded(file, re.sub(r"(\$\{\S+?\})", r"'\1'", text).replace("a:", "x-a:").replace("NAME}", "NAME:-x}"))


def test_other_text_that_is_not_yaml_has_no_word_of_variables(file: Path) -> None:
    assert "${" not in told(file, "api: {host: '${NAME:-x}', port: [}\n")[0]


@pytest.mark.parametrize("wrapped", [False, True])
def test_top_level_keys_for_anchors_are_passed_over(file: Path, wrapped: bool) -> None:
    like = "x-like: &like\n  worker: {drain_timeout_s: 9}\nx-text: ${GONE}\n"
    text = "queues: {a: *like, b: {<<: *like}}\n"
    settings = loaded(file, like + (f"config:\n  {text}" if wrapped else text))
    assert settings.queues["a"].worker == settings.queues["b"].worker == {"drain_timeout_s": 9}
    assert "1: temporal.x-a: there is no such setting" in told(file, "temporal: {x-a: 1}\n")[0]


def test_anchors_and_merges_are_yaml_as_ever(file: Path) -> None:
    settings = loaded(
        file,
        "queues:\n  a: &like\n    scaling: {max_replicas: 3}\n    worker: {drain_timeout: 9}\n  b: *like\n"
        "  c: &own {<<: *like, worker: {drain_timeout_s: 8}}\n  d:\n  e: *own\n",
    )
    assert settings.queues["a"] == settings.queues["b"]
    assert settings.queues["b"].worker == {"drain_timeout_s": 9}
    assert (settings.queues["c"].scaling, settings.queues["c"].worker) == ({"max_replicas": 3}, {"drain_timeout_s": 8})
    assert settings.queues["e"] == settings.queues["c"]
    assert "d" not in settings.queues, "an empty section says nothing"


def test_a_value_that_holds_itself_is_told(file: Path) -> None:
    assert "the value holds itself" in told(file, "queues: &q\n  a: *q\n")[0]
