"""Where settings come from: six sources in one order, the SDK's own names among them, and each problem's place."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS

from app.core.config import ConfigError, sdk
from app.core.config.keys import groups
from app.core.config.load import load_settings
from app.core.config.model import Settings, TemporalSettings

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working folder."""
    monkeypatch.delenv("TEMPORAL_CONFIG_FILE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def profile_file(home: Path, text: str) -> Path:
    file = sdk.default_file()
    assert file.is_relative_to(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def told(**load: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(**load)
    return [str(problem) for problem in caught.value.problems]


def test_the_six_sources_are_heard_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def address(overrides: dict[str, Any] | None = None) -> str:
        return load_settings(overrides).temporal.address

    assert address() == "127.0.0.1:7233"
    profile_file(home, '[profile.default]\naddress = "profile:1"\nnamespace = "of-the-profile"\n')
    assert address() == "profile:1"
    (home / "config.yaml").write_text("temporal: {address: file:2}")
    assert address() == "file:2"
    assert load_settings().temporal.namespace == "of-the-profile", "key by key"
    monkeypatch.setenv("TEMPORAL_ADDRESS", "sdk:3")
    assert address() == "sdk:3"
    monkeypatch.setenv("FLEET_TEMPORAL__ADDRESS", "fleet:4")
    assert address() == "fleet:4"
    assert address({"temporal": {"address": "line:5"}}) == "line:5"


def test_every_variable_of_the_sdk_arrives(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca", "cert", "key"):
        (home / name).write_text(PEM)
    given = {
        "TEMPORAL_ADDRESS": "there:1",
        "TEMPORAL_NAMESPACE": "ours",
        "TEMPORAL_API_KEY": "hush",
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_NAME": "there.example",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "ca",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": "cert",
        "TEMPORAL_TLS_CLIENT_KEY_PATH": "key",
        "TEMPORAL_GRPC_META_X_TENANT": "blue",
        "TEMPORAL_DEPLOYMENT_NAME": "shop",
        "TEMPORAL_WORKER_BUILD_ID": "7",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    temporal = load_settings().temporal
    tls = temporal.tls
    assert (temporal.address, temporal.namespace, temporal.api_key.get_secret_value()) == ("there:1", "ours", "hush")
    assert (tls.enabled, tls.server_name) == (True, "there.example")
    assert (tls.server_ca_file, tls.client_cert_file, tls.client_key_file) == ("ca", "cert", "key")
    assert {key: value.get_secret_value() for key, value in temporal.grpc_metadata.items()} == {"x-tenant": "blue"}
    assert (temporal.worker.deployment_name, temporal.worker.build_id) == ("shop", "7")


def test_texts_instead_of_files_arrive_and_silence_the_files_below(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.yaml").write_text(
        "temporal: {api_key_file: nowhere, tls: {client_cert_file: nowhere, client_key_file: nowhere}}"
    )
    for name in ("SERVER_CA_CERT", "CLIENT_CERT", "CLIENT_KEY"):
        monkeypatch.setenv(f"TEMPORAL_TLS_{name}_DATA", PEM)
    monkeypatch.setenv("TEMPORAL_API_KEY", "hush")
    temporal = load_settings().temporal
    assert temporal.tls.server_ca_data == temporal.tls.client_cert_data == PEM
    assert temporal.tls.client_key_data.get_secret_value() == PEM
    assert (temporal.tls.client_cert_file, temporal.tls.client_key_file, temporal.api_key_file) == ("", "", "")


@pytest.mark.parametrize("empty", ["${GONE:-}", "''", "'${GONE:-}'"])
def test_a_key_that_comes_out_empty_silences_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    profile_file(
        home,
        "[profile.default]\napi_key = 'hush'\n[profile.default.tls]\nserver_ca_cert_data = 'CA'\n"
        "client_cert_data = 'CERT'\nclient_key_data = 'KEY'\n",
    )
    (home / "config.yaml").write_text(
        f"temporal:\n  api_key_file: {empty}\n  tls:\n    server_ca_file: {empty}\n"
        f"    client_cert_file: {empty}\n    client_key_file: {empty}\n"
    )
    temporal = load_settings().temporal
    assert temporal.api_key.get_secret_value() == "hush"
    assert (temporal.tls.server_ca_data, temporal.tls.client_cert_data) == ("CA", "CERT")
    assert temporal.tls.client_key_data.get_secret_value() == "KEY"


def test_a_key_beside_an_empty_one_silences_the_other_one_below(home: Path) -> None:
    profile_file(home, "[profile.default]\napi_key = 'hush'\n")
    (home / "key").write_text("of-the-file")
    (home / "config.yaml").write_text("temporal:\n  api_key: ''\n  api_key_file: key\n")
    temporal = load_settings().temporal
    assert (temporal.api_key.get_secret_value(), temporal.api_key_file) == ("", "key")


def test_a_value_that_came_out_empty_is_not_the_place_of_anothers_problem(home: Path) -> None:
    file = profile_file(home, "[profile.default]\naddress = 'nonsense'\n")
    (home / "config.yaml").write_text("temporal:\n  address: ${GONE:-}\n")
    assert told()[0].startswith(f"{file}:2: temporal.address: ")


def test_every_field_of_the_sdks_profile_has_a_place_here() -> None:
    """When the SDK grows one, `sdk.py` must read it: else it is passed over in silence."""
    read = {"address", "namespace", "api_key", "tls", "grpc_meta"}
    read_tls = {"disabled", "server_name", "server_root_ca_cert", "client_cert", "client_private_key"}
    assert {field.name for field in fields(ClientConfigProfile)} == read
    assert {field.name for field in fields(ClientConfigTLS)} == read_tls


def test_the_sdk_finds_temporal_toml_where_we_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (None, home / "elsewhere"):
        if folder:
            monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
        profile_file(home, f'[profile.default]\naddress = "{folder}:1"\n')
        assert ClientConfigProfile.load(disable_env=True).address == f"{folder}:1"


def test_a_profile_is_chosen_by_name_and_the_file_by_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mine.toml").write_text(
        '[profile.default]\naddress = "a:1"\n[profile.cloud]\naddress = "b:2"\napi_key = "hush"\n'
        '[profile.cloud.tls]\ndisabled = false\nserver_name = "b"\nserver_ca_cert_data = "CA"\n'
        '[profile.cloud.grpc_meta]\nX-Tenant = "blue"\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "mine.toml")
    assert load_settings().temporal.address == "a:1"
    (home / "config.yaml").write_text("temporal: {profile: cloud}")
    temporal = load_settings().temporal
    assert (temporal.address, temporal.api_key.get_secret_value(), temporal.tls.enabled) == ("b:2", "hush", True)
    assert (temporal.tls.server_name, temporal.tls.server_ca_data) == ("b", "CA")
    assert temporal.grpc_metadata["x-tenant"].get_secret_value() == "blue"
    monkeypatch.setenv("TEMPORAL_PROFILE", "default")
    assert load_settings().temporal.address == "a:1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[profile.default]\naddress = 'x\n", "{file}:2: invalid literal string"),
        ("[profile.default]\nadress = 'x:1'\n", "{file}:2: unknown field `adress`"),
        ("[profile.default]\naddress = 3\n", "{file}:2: invalid type: integer"),
        ("[profile.default]\naddress = 'nonsense'\n", "{file}:2: temporal.address: "),
        ("[profile.x]\naddress = 'a:1'\n[profile.default]\n\naddress = 'b'\n", "{file}:5: temporal.address: "),
        ("profile.default.address = 'b'\n", "{file} (profile default): temporal.address: "),
        ("[profile.default.tls]\nclient_cert_path = 'x'\nclient_cert_data = 'x'\n", "{file}: Cannot specify both"),
        ("[profile.default.tls]\ndisable_host_verification = true\n", "{file} (profile default): the SDK for Python"),
        (
            "[profile.default.tls]\nserver_ca_cert_path = 'gone'\n",
            "{file}:2: temporal.tls.server_ca_file: the file gone cannot",
        ),
    ],
)
def test_what_is_wrong_in_temporal_toml_is_told_with_its_place(home: Path, text: str, sentence: str) -> None:
    file = profile_file(home, text)
    problem = told()[0]
    assert sentence.format(file=file) in problem
    assert str(file) in problem


def test_an_unknown_profile_is_told_where_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.yaml").write_text("temporal:\n  profile: clout\n")
    assert "config.yaml:2: there is no file" in told()[0]
    file = profile_file(home, "[profile.cloud]\n")
    assert told() == [f"config.yaml:2: temporal.profile: {file} has no profile clout\n  Did you mean cloud?"]
    monkeypatch.setenv("TEMPORAL_PROFILE", "xyz")
    assert told() == [f"TEMPORAL_PROFILE: temporal.profile: {file} has no profile xyz\n  There: cloud."]
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "gone.toml")
    assert "TEMPORAL_CONFIG_FILE: there is no file gone.toml" in told()[0]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"TEMPORAL_TLS": "maybe"}, "TEMPORAL_TLS: temporal.tls.enabled: must be true or false"),
        ({"TEMPORAL_TLS_DISABLE_HOST_VERIFICATION": "true"}, "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: the SDK for"),
        (
            {"TEMPORAL_TLS_CLIENT_CERT_PATH": "a", "TEMPORAL_TLS_CLIENT_CERT_DATA": "b"},
            "TEMPORAL_*: Cannot specify both TEMPORAL_TLS_CLIENT_CERT_PATH and",
        ),
        (
            {"TEMPORAL_TLS_CLIENT_CERT_DATA": "b"},
            "TEMPORAL_TLS_CLIENT_CERT_DATA: temporal.tls: client_cert_data needs client_key_file",
        ),
        (
            {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "gone"},
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH: temporal.tls.server_ca_file: the file gone cannot be read",
        ),
        (
            {"FLEET_TEMPORAL__API_KEY": "a", "FLEET_TEMPORAL__API_KEY_FILE": "b"},
            "FLEET_TEMPORAL__API_KEY and FLEET_TEMPORAL__API_KEY_FILE: temporal: api_key and api_key_file",
        ),
        ({"TEMPORAL_NAMESPACE": "", "TEMPORAL_ADDRESS": "x"}, "TEMPORAL_ADDRESS: temporal.address: "),
    ],
)
def test_what_is_wrong_in_a_variable_of_the_sdk_is_told_by_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    problems = told()
    assert len(problems) == 1
    assert problems[0].startswith(sentence)


@pytest.mark.parametrize(
    ("text", "path", "kind"),
    [
        ("temporal: true", "temporal", "true"),
        ("temporal: [a, b]", "temporal", "a list"),
        ("temporal: text", "temporal", "a text"),
        ("temporal: {worker: 7}", "temporal.worker", "a number"),
        ("temporal: {worker: '${GONE:-x}'}", "temporal.worker", "a text"),
        ("temporal: {activities: {retry: 2.5}}", "temporal.activities.retry", "a number"),
        ("temporal: {activity: [charge]}", "temporal.activity", "a list"),
        ("temporal: {activity: {charge: 7}}", "temporal.activity.charge", "a number"),
        ("temporal: {grpc_metadata: text}", "temporal.grpc_metadata", "a text"),
        ("queues: [orders]", "queues", "a list"),
        ("queues: {orders: 3}", "queues.orders", "a number"),
        ("queues: {orders: {worker: 3}}", "queues.orders.worker", "a number"),
        ("queues: {orders: {activities: {retry: 3}}}", "queues.orders.activities.retry", "a number"),
        ("api: 8000", "api", "a number"),
    ],
)
def test_what_is_no_section_where_one_should_be_is_told_whatever_other_sources_say(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str, kind: str
) -> None:
    (home / "config.yaml").write_text(text)
    (alone,) = told()
    assert alone.startswith(f"config.yaml:1: {path}: must be a section, and is {kind}\n  Say ")
    monkeypatch.setenv("FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S", "30")
    monkeypatch.setenv("FLEET_TEMPORAL__ACTIVITIES__RETRY__MAXIMUM_ATTEMPTS", "3")
    monkeypatch.setenv("FLEET_TEMPORAL__ACTIVITY", '{"charge": {"start_to_close_timeout_s": 9}}')
    monkeypatch.setenv("FLEET_API__PORT", "8001")
    monkeypatch.setenv("FLEET_QUEUES", '{"orders": {"worker": {"drain_timeout_s": 9}}}')
    monkeypatch.setenv("TEMPORAL_GRPC_META_X", "y")
    assert told() == [alone]


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("FLEET_TEMPORAL", "true", "temporal"),
        ("FLEET_TEMPORAL", '{"worker": 7}', "temporal.worker"),
        ("FLEET_TEMPORAL__WORKER", "7", "temporal.worker"),
        ("FLEET_TEMPORAL__TLS", "true", "temporal.tls"),
        ("FLEET_QUEUES", "[1]", "queues"),
        ("FLEET_QUEUES", '{"orders": {"worker": "x"}}', "queues.orders.worker"),
        ("FLEET_QUEUES__ORDERS", "3", "queues.orders"),
        ("FLEET_TEMPORAL__ACTIVITY__CHARGE", "3", "temporal.activity.charge"),
    ],
)
def test_json_that_is_no_section_where_one_should_be_is_told_by_its_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, path: str
) -> None:
    monkeypatch.setenv(name, value)
    (alone,) = told()
    assert alone.startswith(f"{name}: {path}: must be a section, and is ")
    monkeypatch.setenv("FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S", "30")
    (home / "config.yaml").write_text("temporal: {tls: {enabled: true}}\nqueues: {orders: {}}\n")
    assert told() == [alone]


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("FLEET_QUEUES__Lets2__WORKER__DRAIN_TIMEOUT_S", "FLEET_QUEUES", '{"Lets2": {"worker": {"drain_timeout_s": '),
        (
            "FLEET_TEMPORAL__ACTIVITY__chargeCard__START_TO_CLOSE_TIMEOUT_S",
            "FLEET_TEMPORAL__ACTIVITY",
            '{"chargeCard": {"start_to_close_timeout_s": ',
        ),
    ],
)
def test_a_name_of_ones_own_whose_case_a_variable_would_lose_is_told_with_its_json(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, table: str, said: str
) -> None:
    monkeypatch.setenv(name, "30")
    monkeypatch.setenv("FLEET_API__PORT", "many")
    lost, port = told()
    assert lost.startswith(f"{name}: the name of a variable has no case, so it cannot say ")
    assert f"  Say it as JSON: {table}='{said}" in lost
    assert port.startswith("FLEET_API__PORT: "), "all problems at once"
    monkeypatch.delenv("FLEET_API__PORT")
    monkeypatch.delenv(name)
    monkeypatch.setenv(table, lost.split("='")[1].removesuffix("'"))
    assert load_settings() != Settings(), "the remedy is one"
    monkeypatch.delenv(table)
    own = next(step for step in name.split("__") if step != step.upper())
    for same in (name.upper(), name.replace(own, own.lower())):
        monkeypatch.setenv(same, "30")
        assert load_settings() != Settings()
        monkeypatch.delenv(same)


def test_null_and_a_classic_switch_are_allowed_in_the_place_of_a_section(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.yaml").write_text("temporal: {tls: true, worker: , activity: null}\nqueues: {orders: }\napi:\n")
    monkeypatch.setenv("FLEET_TEMPORAL", '{"worker": null, "activities": null}')
    monkeypatch.setenv("FLEET_SCALING", "null")
    assert load_settings({"local": None}) == Settings.model_validate({"temporal": {"tls": {"enabled": True}}})


def test_a_clash_of_two_sources_names_both(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.yaml").write_text("temporal:\n  activities:\n    start_to_close_timeout_s: 5\n")
    monkeypatch.setenv("FLEET_TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S", "9")
    monkeypatch.setenv("FLEET_TEMPORAL__NAMESPACE", "innocent")
    where = "FLEET_TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S"
    assert told()[0].startswith(f"config.yaml:3 and {where}: temporal.activities: heartbeat_timeout_s (9) must be")


def test_problems_of_all_sources_are_told_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.yaml").write_text("temporal:\n  adress: x:1\n  namespace: ${GONE}\napi: {port: many}\n")
    profile_file(home, "[profile.default]\nadress = 'x:1'\n")
    monkeypatch.setenv("FLEET_TEMPORL__X", "1")
    monkeypatch.setenv("TEMPORAL_TLS", "maybe")
    starts = [problem.split(": ")[0] for problem in told()]
    toml = sdk.default_file()
    assert sorted(starts) == sorted(
        ["config.yaml:2", "config.yaml:3", "config.yaml:4", f"{toml}:2", "FLEET_TEMPORL__X", "TEMPORAL_TLS"]
    )


def test_secrets_are_in_no_print_of_the_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.core.config.document import config_yaml

    secret = [key for group in groups() for key in group.keys if key.type == "secret text"]
    assert {key.name for key in secret} >= {"temporal.api_key", "temporal.tls.client_key_data", "ledger.url"}
    for key in secret:
        monkeypatch.setenv(key.variable, f"hush-{key.path[-1]}")
    monkeypatch.setenv("TEMPORAL_GRPC_META_X_TENANT", "hush-header")
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_DATA", PEM)
    settings = load_settings()
    for text in (repr(settings), str(settings.model_dump()), settings.model_dump_json(), config_yaml(settings)):
        assert "hush" not in text
    shown = [line.strip(" #") for line in config_yaml(settings).splitlines() if "not shown" in line]
    for name in (*(key.path[-1] for key in secret), "x-tenant"):
        assert f"{name}: (set; not shown)" in shown
    assert isinstance(settings.temporal, TemporalSettings)


@pytest.mark.parametrize("above", ["X-Tenant", "x-tenant"])
@pytest.mark.parametrize("below", ["X-Tenant", "x-tenant", "X-TENANT"])
def test_one_header_in_any_case_is_one_key(home: Path, monkeypatch: pytest.MonkeyPatch, above: str, below: str) -> None:
    def headers() -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in load_settings().temporal.grpc_metadata.items()}

    profile_file(home, f"[profile.default.grpc_meta]\n{below} = 'of-the-profile'\n")
    assert headers() == {"x-tenant": "of-the-profile"}
    (home / "config.yaml").write_text(f"temporal: {{grpc_metadata: {{{below}: of-the-file}}}}\n")
    assert headers() == {"x-tenant": "of-the-file"}
    monkeypatch.setenv("FLEET_TEMPORAL__GRPC_METADATA", f'{{"{above}": "of-the-variable"}}')
    assert headers() == {"x-tenant": "of-the-variable"}


def test_one_header_said_twice_in_one_place_is_told(home: Path) -> None:
    (home / "config.yaml").write_text("temporal:\n  grpc_metadata:\n    X-A: b\n    x-a: c\n")
    (problem,) = told()
    assert problem.startswith("config.yaml:4: temporal.grpc_metadata.x-a: said twice: as X-A and as x-a, which are one")


@pytest.mark.parametrize("key", ["API_KEY", "API_KEY_FILE"])
def test_two_sources_of_the_header_authorization_are_told_with_both_places(
    home: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (home / "config.yaml").write_text("temporal:\n  grpc_metadata:\n    x: y\n    Authorization: Bearer hush\n")
    monkeypatch.setenv(f"FLEET_TEMPORAL__{key}", "hush")
    problem = told()[-1]
    assert problem == (
        f"FLEET_TEMPORAL__{key} and config.yaml:4: temporal: {key.lower()} and grpc_metadata.authorization both fill "
        "the header authorization\n  Leave one out; grpc_metadata.authorization is for what is no API key of Temporal."
    )


@pytest.mark.parametrize(("given", "sent"), [("hush\n", "hush"), (" hush\r\n", "hush"), ("\n", "")])
def test_white_space_around_a_secret_of_one_line_is_no_part_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: str, sent: str
) -> None:
    monkeypatch.setenv("FLEET_TEMPORAL__API_KEY", given)
    assert load_settings().temporal.api_key.get_secret_value() == sent
    monkeypatch.delenv("FLEET_TEMPORAL__API_KEY")
    monkeypatch.setenv("TEMPORAL_GRPC_META_X_TENANT", given)
    assert load_settings().temporal.grpc_metadata["x-tenant"].get_secret_value() == sent


@pytest.mark.parametrize("value", ["hush\nhush", "hush\x01", "husch\u00e9"])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("FLEET_TEMPORAL__API_KEY", "temporal.api_key"),
        ("TEMPORAL_API_KEY", "temporal.api_key"),
        ("TEMPORAL_GRPC_META_X_TENANT", "temporal.grpc_metadata.x-tenant"),
    ],
)
def test_what_no_header_can_carry_is_told_by_its_name_and_never_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (problem,) = told()
    assert problem == (
        f"{name}: {path}: is not one line of plain text (printable ASCII)\n"
        "  Look for a line break or a letter with an accent."
    )
    section: dict[str, Any] = {"api_key": value} if path.endswith("key") else {"grpc_metadata": {"a": value}}
    with pytest.raises(ValidationError) as caught:
        TemporalSettings.model_validate(section)
    assert "hus" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "fact", "remedy"),
    [
        ("localhost", "has no port", "localhost:7233"),
        ("[::1]", "has no port", "[::1]:7233"),
        ("https://foo:7233", "begins with https://", "foo:7233"),
        ("http://foo", "begins with http://", "foo:7233"),
        (":7233", "has no host", "127.0.0.1:7233"),
        ("foo:99999", "the port 99999 is not between 1 and 65535", "foo:7233"),
        ("foo:0", "the port 0 is not between 1 and 65535", "foo:7233"),
        ("::1:7233", "is not host:port", "127.0.0.1:7233"),
        ("foo:7233/path", "is not host:port", "127.0.0.1:7233"),
        ("a b:7233", "is not host:port", "127.0.0.1:7233"),
    ],
)
def test_an_address_that_is_none_is_told_with_one_that_is(home: Path, address: str, fact: str, remedy: str) -> None:
    (home / "config.yaml").write_text(f"temporal:\n  address: '{address}'\n")
    (problem,) = told()
    sentence = f"config.yaml:2: temporal.address: {fact}\n  Write host:port, e.g. {remedy}"
    assert problem.split("; ")[0].removesuffix(".") == sentence


@pytest.mark.parametrize("address", ["localhost:7233", "[::1]:7233", "shop.a1b2c.tmprl.cloud:7233", "a_b:1", "x:65535"])
def test_an_address_is_a_host_and_a_port(home: Path, address: str) -> None:
    (home / "config.yaml").write_text(f"temporal:\n  address: '{address}'\n")
    assert load_settings().temporal.address == address


def test_files_are_asked_for_only_by_who_connects(home: Path) -> None:
    (home / "config.yaml").write_text(
        "temporal:\n  api_key_file: gone\n  tls:\n    server_ca_file: gone\n    client_cert_file: folder\n"
        "    client_key_file: empty\n"
    )
    (home / "folder").mkdir()
    (home / "empty").touch()
    assert [problem.splitlines()[0] for problem in told()] == [
        "config.yaml:2: temporal.api_key_file: the file gone cannot be read: No such file or directory",
        "config.yaml:4: temporal.tls.server_ca_file: the file gone cannot be read: No such file or directory",
        "config.yaml:5: temporal.tls.client_cert_file: the file folder cannot be read: Is a directory",
        "config.yaml:6: temporal.tls.client_key_file: the file empty is empty",
    ]
    assert isinstance(load_settings(connects=False), Settings)
    off = {"temporal": {"enabled": False}}
    assert load_settings(off).temporal.enabled is False
    assert os.environ.get("TEMPORAL_API_KEY") is None
