"""skaffold.yaml: what Skaffold understands, and what the chart makes of the values that Skaffold gives it."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.render import ROOT, Helm, Objects, container
from tests.parts.building import GoMissing
from tests.parts.skaffold.schema import schema
from tests.parts.skipping import skip_for_want_of

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
(ARTIFACT,) = CONFIG["build"]["artifacts"]
(DEV,) = CONFIG["profiles"]
(RELEASE,) = DEV["deploy"]["helm"]["releases"]
TAG = "3f0c"


def test_it_is_valid_for_skaffold() -> None:
    try:
        theirs = schema(CONFIG["apiVersion"])
    except GoMissing as error:
        skip_for_want_of("Go", error)
    jsonschema.validate(CONFIG, theirs)


def test_the_paths_are_there() -> None:
    (stack,) = DEV["manifests"]["kustomize"]["paths"]
    assert (ROOT / stack / "kustomization.yaml").is_file()
    assert (ROOT / ARTIFACT["docker"]["dockerfile"]).is_file()
    for path in (RELEASE["chartPath"], *RELEASE["valuesFiles"]):
        assert (ROOT / path).exists()


def test_skaffold_does_not_wait_for_the_chart_before_it_installs_its_temporal() -> None:
    assert DEV["deploy"]["statusCheck"] is False


@pytest.mark.charts
def test_pods_ask_for_the_artifact_by_a_name_that_skaffold_replaces(helm: Helm) -> None:
    """By its own rule (pkg/skaffold/kubernetes/manifest/images.go): the artifact's name, and no digest."""
    images = {container(pod)["image"] for pod in _installed(helm).templates().values()}
    assert images == {f"{ARTIFACT['image']}:{TAG}"}


@pytest.mark.charts
def test_the_services_to_forward_are_there(helm: Helm) -> None:
    here = [each for each in DEV["portForward"] if each["namespace"] == RELEASE["namespace"]]
    services = _installed(helm).of("Service")
    (theirs,) = yaml.safe_load_all((ROOT / "k8s/dev/kustomization.yaml").read_text())
    for resource in theirs["resources"]:
        services |= Objects((ROOT / "k8s/dev" / resource).read_text()).of("Service")
    assert {each["namespace"] for each in DEV["portForward"] if each not in here} == {theirs["namespace"]}
    for each in DEV["portForward"]:
        ports = {port["port"] for port in services[each["resourceName"]]["spec"]["ports"]}
        assert each["port"] in ports


def _installed(helm: Helm) -> Objects:
    """What the profile's release renders: the command line is the one that Skaffold makes, in its order."""
    variable = "{{.IMAGE_TAG_" + re.sub(r"[-./:]", "_", ARTIFACT["image"]) + "}}"
    values = {key: each.replace(variable, TAG) for key, each in RELEASE["setValueTemplates"].items()}
    assert not any("{{" in each for each in values.values())
    sets = [part for key, value in sorted(values.items()) for part in ("--set", f"{key}={value}")]
    files = [part for path in RELEASE["valuesFiles"] for part in ("-f", str(ROOT / path))]
    where = ["--namespace", RELEASE["namespace"]]
    return Objects(helm.run("template", RELEASE["name"], str(ROOT / RELEASE["chartPath"]), *where, *sets, *files))
