"""Settings: every problem at once with its place, and the order of precedence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.config import ConfigError, activity_options, use
from app.core.config.document import config_yaml
from app.core.config.load import load_settings
from app.core.config.model import Settings
from app.core.config.resolve import activity_settings, scaling_settings, worker_settings

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file)
    return [str(problem) for problem in caught.value.problems]


def test_three_errors_are_all_told_with_file_and_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "temporal:\n  adress: there:7233\n  activities:\n    start_to_close_timeout_s: -3\n"
        "    retry:\n      maximum_attempts: many\n",
    )
    told = problems(file)
    assert len(told) == 3
    assert any(line.startswith(f"{file}:2: temporal.adress: there is no such setting. Did you mean") for line in told)
    assert any(line.startswith(f"{file}:4: temporal.activities.start_to_close_timeout_s:") for line in told)
    assert any(line.startswith(f"{file}:6: temporal.activities.retry.maximum_attempts:") for line in told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("queues: {q: {worker: {max_concurrent_activities: 0}}}", "queues.q.worker.max_concurrent_activities: "),
        ("queues: {q: {activities: {heartbeat_timeout_s: 9999}}}", "queues.q.activities: heartbeat_timeout_s (9999)"),
        ("queues: {q: {scaling: {max_replica: 1}}}", "queues.q.scaling.max_replica: there is no such setting"),
        ("queues: {q: {worker: {identity: me}}}", "queues.q.worker.identity: belongs to the process"),
        ("temporal: {activity: {a: {start_to_close_timeout_s: -1}}}", "temporal.activity.a.start_to_close_timeout_s: "),
        ("5: x", "the file must hold sections"),
        ("temporal: {address: 2020-99-99}", "not YAML"),
        ('a: "\x01"', "not YAML"),
    ],
)
def test_whatever_is_wrong_in_the_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert told in problems(write(tmp_path, text))[0]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FLEET_QUEUES", "notjson", "FLEET_QUEUES: queues: a list or a section is given as JSON"),
        ("FLEET_TEMPORAL__WORKER__PACKAGES", "a,b", "temporal.worker.packages: a list or a section is given as JSON"),
        ("FLEET_TEMPORL__ADDRESS", "x:1", "there is no such setting. Did you mean FLEET_TEMPORAL__ADDRESS?"),
        ("TEMPORAL_ADDRESS", "nonsense", "TEMPORAL_ADDRESS: temporal.address: "),
    ],
)
def test_whatever_is_wrong_in_a_variable_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    assert told in problems(write(tmp_path, ""))[0]


def test_an_override_of_a_queue_is_checked_like_the_section_it_overrides(tmp_path: Path) -> None:
    file = write(tmp_path, "queues:\n  orders:\n    scaling: {min_replicas: 9, max_replicas: 2}\n")
    assert problems(file) == [f"{file}:3: queues.orders.scaling: min_replicas (9) is above max_replicas (2)"]


def test_text_that_is_not_yaml_names_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "temporal:\n  address: [unclosed\n")
    assert problems(file)[0].startswith(f"{file}:3: not YAML")


def test_a_file_that_was_named_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(tmp_path / "nowhere.yaml") == [f"--config: there is no file {tmp_path / 'nowhere.yaml'}"]
    monkeypatch.setenv("FLEET_CONFIG", str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match="FLEET_CONFIG"):
        load_settings()


def test_several_files_are_laid_over_each_other_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, first, last = tmp_path / "config.yaml", tmp_path / "first.yaml", tmp_path / "last.yaml"
    image.write_text(
        "temporal:\n  namespace: image\n  activities: {start_to_close_timeout_s: 30, retry: {maximum_attempts: 7}}\n"
    )
    first.write_text("temporal:\n  namespace: first\n  rpc_timeout_s: 9\n")
    last.write_text("temporal:\n  activities:\n    start_to_close_timeout_s: 40\n")
    monkeypatch.chdir(tmp_path)
    # As MANPATH: the empty name is the default place.
    monkeypatch.setenv("FLEET_CONFIG", f":{first}:{last}")
    temporal = load_settings().temporal
    assert (temporal.namespace, temporal.rpc_timeout_s) == ("first", 9)
    assert temporal.activities.start_to_close_timeout_s == 40
    assert temporal.activities.retry.maximum_attempts == 7
    last.write_text("temporal:\n  rpc_timeout_s: soon\n  nmespace: x\n")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert f"{last}:2" in str(caught.value), "the file that the value came from"
    assert f"{last}:3" in str(caught.value)
    image.unlink()
    last.unlink()
    with pytest.raises(ConfigError, match=f"there is no file {last}"):
        load_settings()
    monkeypatch.setenv("FLEET_CONFIG", f":{first}")
    assert load_settings().temporal.activities.retry.maximum_attempts == 0, "the model's default"


def test_a_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_API__PORT", "99999")
    assert problems(write(tmp_path, ""))[0].startswith("FLEET_API__PORT: api.port:")


def test_overrides_are_laid_over_key_by_key(tmp_path: Path) -> None:
    settings = load_settings(
        file=write(
            tmp_path,
            "temporal:\n  activities: {retry: {maximum_attempts: 7}, heartbeat_timeout_s: 5}\n"
            "  activity: {charge: {start_to_close_timeout_s: 30}}\n"
            "queues:\n  payments:\n    activities: {start_to_close_timeout_s: 60, retry: {backoff_coefficient: 3}}\n"
            "    scaling: {max_replicas: 3}\n    worker: {max_concurrent_activities: 2}\n",
        )
    )
    charge = activity_settings(settings, "charge", "payments")
    assert (charge.start_to_close_timeout_s, charge.heartbeat_timeout_s) == (30, 5)
    assert (charge.retry.maximum_attempts, charge.retry.backoff_coefficient) == (7, 3)
    assert activity_settings(settings, "other", "payments").start_to_close_timeout_s == 60
    assert scaling_settings(settings, "payments").max_replicas == 3
    assert worker_settings(settings, "payments").max_concurrent_activities == 2
    assert worker_settings(settings, "orders").max_concurrent_activities == 10


def test_a_process_uses_what_it_was_given_last() -> None:
    use(Settings())
    assert activity_options("a", "q").start_to_close_timeout_s == 1200
    use(Settings.model_validate({"temporal": {"activities": {"start_to_close_timeout_s": 9}}}))
    assert activity_options("a", "q").start_to_close_timeout_s == 9


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().api.port = 1  # type: ignore[misc]


def test_config_yaml_is_the_models_own_print() -> None:
    """Stale: run `make docs`."""
    text = (ROOT / "config.yaml").read_text()
    assert text == config_yaml(load_settings(file=ROOT / "config.yaml"))


def test_the_printed_file_gives_the_settings_back(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "queues": {"orders": {"scaling": {"max_replicas": 30}}},
            "temporal": {"worker": {"packages": ["a", "b"]}, "activities": {"heartbeat_timeout_s": 5}},
            "local": {"poll_s": 3},
        }
    )
    assert load_settings(file=write(tmp_path, config_yaml(settings))) == settings
