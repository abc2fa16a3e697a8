"""skaffold.yaml: what Skaffold understands, and what the chart makes of the values that Skaffold gives it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.render import ROOT, Helm, Objects, container
from tests.parts.building import GoMissing
from tests.parts.skaffold.schema import schema

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
(ARTIFACT,) = CONFIG["build"]["artifacts"]
(DEV,) = CONFIG["profiles"]
(RELEASE,) = DEV["deploy"]["helm"]["releases"]
DIGEST = "sha256:" + "ab" * 32

# How Skaffold names what it built (pkg/skaffold/helm/args.go) -> what pods must ask for.
BUILT: dict[str, tuple[dict[str, str], str]] = {
    "on this machine": ({"REPO": "worker-fleet", "TAG": "3f0c", "DIGEST": ""}, "worker-fleet:3f0c"),
    "pushed to a default repository": (
        {"REPO": "registry.example/me/worker-fleet", "TAG": "3f0c", "DIGEST": DIGEST},
        f"registry.example/me/worker-fleet@{DIGEST}",
    ),
}


def test_it_is_valid_for_skaffold() -> None:
    try:
        theirs = schema(CONFIG["apiVersion"])
    except GoMissing as error:
        loud = f"SKIPPED for want of Go: {error}"
        with warnings.catch_warnings():
            # Warnings made errors must not turn the skip into one.
            warnings.simplefilter("always")
            warnings.warn(loud, stacklevel=1)
        pytest.skip(loud)
    jsonschema.validate(CONFIG, theirs)


def test_the_paths_are_there() -> None:
    (stack,) = DEV["manifests"]["kustomize"]["paths"]
    assert (ROOT / stack / "kustomization.yaml").is_file()
    assert (ROOT / ARTIFACT["docker"]["dockerfile"]).is_file()
    for path in (RELEASE["chartPath"], *RELEASE["valuesFiles"]):
        assert (ROOT / path).exists()


@pytest.mark.charts
@pytest.mark.parametrize("case", BUILT)
def test_pods_get_the_image_that_was_built(helm: Helm, case: str) -> None:
    names, image = BUILT[case]
    objects = _installed(helm, names)
    assert {container(pod)["image"] for pod in objects.templates().values()} == {image}


@pytest.mark.charts
def test_the_services_to_forward_are_there(helm: Helm) -> None:
    here = [each for each in DEV["portForward"] if each["namespace"] == RELEASE["namespace"]]
    services = _installed(helm, BUILT["on this machine"][0]).of("Service")
    (theirs,) = yaml.safe_load_all((ROOT / "k8s/dev/kustomization.yaml").read_text())
    for resource in theirs["resources"]:
        services |= Objects((ROOT / "k8s/dev" / resource).read_text()).of("Service")
    assert {each["namespace"] for each in DEV["portForward"] if each not in here} == {theirs["namespace"]}
    for each in DEV["portForward"]:
        ports = {port["port"] for port in services[each["resourceName"]]["spec"]["ports"]}
        assert each["port"] in ports


def _installed(helm: Helm, names: Mapping[str, str]) -> Objects:
    """What the profile's release renders: the command line is the one that Skaffold makes, in its order."""
    suffix = re.sub(r"[-./:]", "_", ARTIFACT["image"])
    sets = []
    for key, template in sorted(RELEASE["setValueTemplates"].items()):
        for name, value in names.items():
            template = template.replace(f"{{{{.IMAGE_{name}_{suffix}}}}}", value)
        assert "{{" not in template
        sets += ["--set", f"{key}={template}"]
    files = [part for path in RELEASE["valuesFiles"] for part in ("-f", str(ROOT / path))]
    where = ["--namespace", RELEASE["namespace"]]
    return Objects(helm.run("template", RELEASE["name"], str(ROOT / RELEASE["chartPath"]), *where, *sets, *files))
