"""What the chart says twice, or after the code: manifest, values and their schema, CRD, versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import annotated_types
import pytest
import yaml
from pydantic.alias_generators import to_camel

from app.core.config.model import ScalingSettings
from app.core.config.pool import PoolSpec
from app.operator import workerpool
from app.operator.status import Seen, pool_status
from app.operator.workerpool import Control, Mode
from app.scaling.memory import Memory
from app.scaling.policy import Decision, Reason
from tests.charts.render import CHART, ENVIRONMENTS, ROOT, Helm

pytestmark = pytest.mark.charts

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
CRD = yaml.safe_load((CHART / "crds" / "workerpools.yaml").read_text())["spec"]
(CRD_VERSION,) = CRD["versions"]
POOL = CRD_VERSION["schema"]["openAPIV3Schema"]["properties"]

SETTINGS = {
    "minReplicas": "min_replicas",
    "maxReplicas": "max_replicas",
    "maxWaitSeconds": "max_wait_s",
    "utilization": "utilization",
    "backlogPerReplica": "backlog_per_replica",
    "idleSeconds": "idle_s",
    "longActivities": "long_activities",
    "scaleDown.stabilizationWindowSeconds": "stabilization_window_s",
    "scaleDown.maxPercent": "max_percent",
}
"""Field of a WorkerPool and key of values -> key of `scaling` in config.yaml."""

FROM_THE_MANIFEST = {"drainSeconds", "slots", "longActivities", "wakeWith"}


def test_the_manifest_is_what_the_registry_says_now() -> None:
    # A process of its own: in this one, other tests have filled the registry.
    command = [sys.executable, "-m", "app.cli", "queues", "--manifest"]
    now = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    stale = "stale, run: fleet queues --manifest >charts/worker-fleet/files/queues.yaml"
    assert (CHART / "files" / "queues.yaml").read_text() == now, stale


def test_chart_and_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project


def test_every_value_is_described_and_nothing_else_is_allowed() -> None:
    assert list(_open_or_silent(SCHEMA, "")) == []
    for name, definition in SCHEMA["$defs"].items():
        assert list(_open_or_silent(definition, name)) == []


def test_values_and_schema_hold_the_same_keys() -> None:
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for name in ("temporal", "ledger", "operator", "api"):
        assert set(VALUES[name]) == set(SCHEMA["properties"][name]["properties"])
    pool = SCHEMA["$defs"]["pool"]["properties"]
    assert set(VALUES["workerDefaults"]) == set(pool) - FROM_THE_MANIFEST
    text = (CHART / "values.yaml").read_text()
    assert all(f"# {key}:" in text for key in FROM_THE_MANIFEST)


@pytest.mark.parametrize("field", SETTINGS)
def test_scaling_has_one_default_and_one_range(field: str) -> None:
    setting = ScalingSettings.model_fields[SETTINGS[field]]
    in_crd = _at(POOL["spec"], field)
    in_schema = _at(SCHEMA["$defs"]["pool"], field)
    assert in_crd["default"] == setting.default
    if field not in FROM_THE_MANIFEST:
        value: Any = VALUES["workerDefaults"]
        for step in field.split("."):
            value = value[step]
        assert value == setting.default
    limits = {key: in_crd[key] for key in ("minimum", "maximum") if key in in_crd}
    assert limits == {key: in_schema[key] for key in ("minimum", "maximum") if key in in_schema}
    for bound in setting.metadata:
        if isinstance(bound, annotated_types.Ge):
            assert in_crd["minimum"] == bound.ge
        if isinstance(bound, annotated_types.Le):
            assert in_crd["maximum"] <= bound.le


def test_the_operator_and_the_crd_mean_the_same_resource() -> None:
    assert (CRD["group"], CRD["names"]["kind"], CRD["names"]["plural"]) == (
        workerpool.GROUP,
        workerpool.KIND,
        workerpool.PLURAL,
    )
    assert (CRD_VERSION["name"], CRD["scope"]) == (workerpool.VERSION, "Namespaced")
    assert CRD["names"]["shortNames"] == ["wp"]
    assert POOL["status"]["properties"]["mode"]["enum"] == [mode.value for mode in Mode]
    assert PoolSpec.read({"taskQueue": "q"}) == PoolSpec.read({"taskQueue": "q", **_defaults(POOL["spec"])})
    named = {to_camel(re.sub("_s$", "_seconds", name)) for name in PoolSpec.model_fields}
    assert named - {"stabilizationWindowSeconds", "maxPercent"} == set(POOL["spec"]["properties"]) - {"scaleDown"}


def test_the_status_of_the_crd_is_what_the_operator_writes() -> None:
    pool: dict[str, Any] = {"metadata": {"name": "x", "namespace": "y"}, "spec": {"taskQueue": "q"}}
    deployment: dict[str, Any] = {"metadata": {}, "spec": {"selector": {}, "replicas": 1}}
    seen = Seen(pool, PoolSpec.read(pool["spec"]), deployment, Control(Mode.AUTOMATIC, None), written=2)
    decision = Decision(1, Reason.DEMAND_UNKNOWN, "", Memory())
    written = pool_status(seen, None, decision, datetime.now(UTC))
    fields = POOL["status"]["properties"]
    # observedTime is laid over what has changed, whatever that is.
    assert set(fields) == {*written, "observedTime"}
    for condition in written["conditions"]:
        assert set(condition) == set(fields["conditions"]["items"]["properties"])


def test_the_columns_are_those_of_the_documentation() -> None:
    columns = CRD_VERSION["additionalPrinterColumns"]
    shown = [column["name"].upper() for column in columns if not column.get("priority")]
    assert shown == ["QUEUE", "READY", "WANTED", "BACKLOG", "AGE", "SLOTS", "MODE", "REASON"]
    for column in columns:
        _, part, *path = column["jsonPath"].split(".")
        assert _at(POOL[part], ".".join(path))


def test_the_crd_says_nothing_that_the_api_server_would_drop() -> None:
    """Dropped words make what is there differ from what is applied: then one helm's CRD is another one's conflict."""
    known = {"type", "format", "description", "default", "enum", "items", "properties", "required"}
    known |= {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
    known |= {"x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
    for field in _fields(CRD_VERSION["schema"]["openAPIV3Schema"]):
        assert set(field) <= known
        assert all(value is not None for value in field.values())
        for rule in field.get("x-kubernetes-validations", []):
            assert set(rule) <= {"rule", "message", "messageExpression", "fieldPath"}


def test_explain_prints_the_command_that_unpins() -> None:
    said = POOL["spec"]["properties"]["replicas"]["description"]
    assert """kubectl patch wp/NAME --type=merge -p '{"spec":{"replicas":null}}'""" in said
    named = (field for part in POOL.values() for field in _fields(part) if field not in _items(part))
    assert all("description" in field for field in named)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rendered_pools_fit_the_crd(helm: Helm, environment: str) -> None:
    for pool in helm.template(environment=environment).of("WorkerPool").values():
        assert list(_misfits(pool["spec"], POOL["spec"], "spec")) == []
        assert set(POOL["spec"]["properties"]) - set(pool["spec"]) == {"replicas"}


@pytest.mark.parametrize("environment", ["", *ENVIRONMENTS])
def test_lint_has_nothing_to_say(helm: Helm, environment: str) -> None:
    values = ["--values", str(CHART / "environments" / f"{environment}.yaml")] if environment else []
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), *values)


def _at(node: dict[str, Any], path: str) -> dict[str, Any]:
    for step in path.split("."):
        node = node["properties"][step]
    return node


def _fields(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    inner = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    for field in inner:
        yield field
        yield from _fields(field)


def _items(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [field["items"] for field in _fields(node) if "items" in field]


def _defaults(node: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in node["properties"].items():
        if "properties" in field:
            found[name] = _defaults(field)
        elif "default" in field:
            found[name] = field["default"]
    return found


def _open_or_silent(node: Any, path: str) -> Iterator[str]:
    """Objects of the schema that let unknown keys in, and properties without a description."""
    for name, field in node.get("properties", {}).items():
        here = f"{path}/{name}"
        if path != "/workerDefaults" and not field.get("description") and not _described(field):
            yield f"{here} has no description"
        yield from _open_or_silent(field, here)
    if "items" in node:
        yield from _open_or_silent(node["items"], f"{path}[]")
    closed = node.get("additionalProperties", True) is not True or "$ref" in node or path in ("/config", "/global")
    if "object" in node.get("type", "") and not closed:
        yield f"{path} is open"


def _described(field: dict[str, Any]) -> bool:
    return "$ref" in field and "description" in SCHEMA["$defs"][field["$ref"].rpartition("/")[2]]


def _misfits(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
    }
    if not isinstance(value, kinds[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {schema['type']}"
    elif isinstance(value, dict):
        yield from (f"{path}.{key} is unknown" for key in value.keys() - schema["properties"].keys())
        for key in value.keys() & schema["properties"].keys():
            yield from _misfits(value[key], schema["properties"][key], f"{path}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from _misfits(each, schema["items"], f"{path}[]")
    elif value not in schema.get("enum", [value]):
        yield f"{path}: {value!r} is none of {schema['enum']}"
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value} is out of bounds"
