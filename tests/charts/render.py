"""Renders the chart with a real helm, and finds objects in what came out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "worker-fleet"
ENVIRONMENTS = sorted(path.stem for path in (CHART / "environments").glob("*.yaml"))

Body = dict[str, Any]


class RenderFailed(Exception):
    """helm refused; `sentences` are the chart's own, without helm's words around them."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        lines = [line for line in stderr.split("Use --debug", 1)[0].splitlines() if line]
        lines[0] = lines[0].rpartition("): ")[2]
        self.sentences = lines


class Objects:
    """The rendered objects of one release."""

    def __init__(self, text: str) -> None:
        self.all: list[Body] = [body for body in yaml.safe_load_all(text) if body]

    def of(self, kind: str) -> dict[str, Body]:
        """The objects of a kind, by name."""
        return {body["metadata"]["name"]: body for body in self.all if body["kind"] == kind}

    def workers(self) -> dict[str, Body]:
        """The Deployments of pools, by the pool's name."""
        label = "workerfleet.dev/pool"
        labels = ((body, body["metadata"]["labels"]) for body in self.of("Deployment").values())
        return {found[label]: body for body, found in labels if label in found}

    def templates(self) -> dict[str, Body]:
        """Every pod template's spec, by the name of what holds it."""
        return {name: body["spec"]["template"]["spec"] for name, body in self.of("Deployment").items()}


@dataclass(frozen=True)
class Helm:
    """One helm, of version 3 or 4."""

    program: Path
    folder: Path

    def run(self, *arguments: str) -> str:
        """Its standard output. Raises RenderFailed. It sees nothing of the user's: no cluster, no plugins, no cache."""
        done = subprocess.run(
            [self.program, *arguments],
            env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RenderFailed(done.stderr)
        return done.stdout

    def template(
        self, values: Mapping[str, Any] | None = None, *, environment: str = "prod", release: str = "shop"
    ) -> Objects:
        """The objects of an environment with `values` over it. Raises RenderFailed."""
        return Objects(self.run("template", release, *self._arguments(values or {}, environment)))

    def notes(self, values: Mapping[str, Any] | None = None, *, environment: str = "prod") -> str:
        """What a person reads after `helm install`."""
        arguments = self._arguments(values or {}, environment)
        return self.run("install", "shop", "--dry-run=client", *arguments).partition("NOTES:\n")[2]

    def _arguments(self, values: Mapping[str, Any], environment: str) -> Iterator[str]:
        file = self.folder / "values.json"
        file.write_text(json.dumps(values))
        yield from (str(CHART), "--namespace", "fleet")
        if environment:
            yield from ("--values", str(CHART / "environments" / f"{environment}.yaml"))
        # The last file wins.
        yield from ("--values", str(file))


def manifest(more: Mapping[str, Any] | None = None, /, **queues: str) -> str:
    """A manifest of an image of somebody else: slug=task queue; `more`: what it says of each queue besides."""
    said = {"taskTypes": ["activity"], "slots": 7, "drainSeconds": 30, "longActivities": True, **(more or {})}
    found = {name: {"taskQueue": queue, **said} for name, queue in queues.items()}
    return json.dumps({"imageRepository": "registry.example/theirs", "digest": "sha256:1", "queues": found})


def container(pod: Body) -> Body:
    """The one container of a pod template."""
    (only,) = pod["containers"]
    assert isinstance(only, dict)
    return only


def variables(pod: Body) -> dict[str, str | None]:
    """Its variables by name; None for one whose value is elsewhere."""
    return {each["name"]: each.get("value") for each in container(pod)["env"]}
