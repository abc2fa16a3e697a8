"""A queue of long activities shrinks on a real node: the idle pods go, those with work stay until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.apps.mails.letters import Letter
from tests.cluster.client import Cluster
from tests.cluster.release import SETTLE_S, Release, TemporalServer, release
from tests.image.derived import DERIVED, QUEUE, derived_manifest
from tests.local.dev_fleet import until
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

PODS = 5
# Longer than the shrink, and much longer than the drain: a busy pod that was taken would hand its letter over.
LETTERS = {f"long-{number}": Letter(seconds=60.0) for number in range(2)}
VALUES = {
    "image__tag": DERIVED.rpartition(":")[2],
    "queues__mails__longActivities": "true",
    "queues__mails__slots": "1",
    # Else two pods that are busy ask for a third.
    "queues__mails__utilization": "100",
    "queues__mails__drainSeconds": "8",
    "queues__mails__maxReplicas": str(PODS),
}


@pytest.fixture(scope="module")
def shop(
    image: Path,
    derived_image: Path,
    cluster: Cluster,
    temporal_for_pods: TemporalServer,
    postgres_for_pods: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """PODS pods of one slot each."""
    cluster.load_image(derived_image)
    manifest = tmp_path_factory.mktemp("manifest") / "queues.yaml"
    manifest.write_text(derived_manifest())
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install(f"--set-file=queuesManifest={manifest}", **VALUES, queues__mails__minReplicas=str(PODS))
        until(lambda: made.pool("mails").get("readyReplicas") == PODS, SETTLE_S, 0.5)
        yield made


def test_idle_pods_go_and_busy_ones_finish(shop: Release) -> None:
    asyncio.run(_post(shop))
    busy: set[str] = until(lambda: _writing(shop) if len(_writing(shop)) == len(LETTERS) else None, 60, 0.2)
    shop.kubectl("patch", "wp", "mails", "--type=merge", "-p", '{"spec":{"minReplicas":1}}')
    until(lambda: shop.replicas("mails") == len(LETTERS), 60, 0.2)
    until(lambda: _pods(shop) == busy, 30, 0.2)
    assert asyncio.run(_written(shop)) == busy
    assert [attempt for *_, attempt in shop.bodies()] == [1] * len(LETTERS)
    until(lambda: shop.replicas("mails") == 1, 60, 0.5)
    print(shop.events("mails"))


async def _post(shop: Release) -> None:
    client = await Client.connect(shop.temporal.address)
    for name, letter in LETTERS.items():
        await client.start_workflow("LetterWorkflow", letter, id=f"letter-{name}", task_queue=QUEUE)


async def _written(shop: Release) -> set[str]:
    """The pods that wrote the letters."""
    client = await Client.connect(shop.temporal.address)
    letters = [client.get_workflow_handle(f"letter-{name}", result_type=str) for name in LETTERS]
    return set(await asyncio.wait_for(asyncio.gather(*(letter.result() for letter in letters)), 90))


def _writing(shop: Release) -> set[str]:
    return {worker for _, activity, worker, _ in shop.bodies() if activity == "write_letter"}


def _pods(shop: Release) -> set[str]:
    """Those that nobody has told to end."""
    found = shop.pods("workerfleet.dev/pool=mails")
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}
