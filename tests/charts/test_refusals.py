"""Values that would deploy and then not work are refused by helm, in a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.render import Helm, RenderFailed, container, manifest

pytestmark = pytest.mark.charts

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown queue": (
        {"queues": {"emails": {"maxReplicas": 3}}},
        "queues.emails: the image has no such queue; its queues are orders, payments.",
    ),
    "waking with an unknown queue": (
        {"queues": {"payments": {"wakeWith": ["orders", "emails"]}}},
        "queues.payments: wakeWith names emails, and the image has no such queue; its queues are orders, payments.",
    ),
    "waking with itself": (
        {"queues": {"payments": {"wakeWith": ["payments"]}}},
        "queues.payments: wakeWith names the queue itself, with which it wakes anyway: leave it out.",
    ),
    "a queue to drop that is there": (
        {"dropQueues": ["orders"]},
        "dropQueues: the manifest still has orders; take it off that list.",
    ),
    "another image": (
        {"image": {"repository": "registry.example/shop"}},
        (
            'image.repository is "registry.example/shop", but the manifest of queues was made for "worker-fleet": run '
            "`fleet queues --manifest --image-repository registry.example/shop` in that image and give its output with "
            "--set-file queuesManifest=FILE."
        ),
    ),
    "another image whose name ends like ours": (
        {"image": {"repository": "registry.example/my-worker-fleet"}},
        (
            'image.repository is "registry.example/my-worker-fleet", but the manifest of queues was made for '
            '"worker-fleet": run `fleet queues --manifest --image-repository registry.example/my-worker-fleet` in that '
            "image and give its output with --set-file queuesManifest=FILE."
        ),
    ),
    "minimum above maximum": (
        {"queues": {"orders": {"minReplicas": 11, "maxReplicas": 10}}},
        "queues.orders: minReplicas (11) is above maxReplicas (10).",
    ),
    "minimum above the default maximum": (
        {"workerDefaults": {"maxReplicas": 3}, "queues": {"payments": {"minReplicas": 4}}},
        "queues.payments: minReplicas (4) is above maxReplicas (3).",
    ),
    "no ledger": (
        {"ledger": {"existingSecret": {"name": ""}}},
        (
            "The example's queues share a ledger: set ledger.existingSecret.name to a Secret with an SQLAlchemy URL "
            "under the key `url` (or ledger.url)."
        ),
    ),
    "two ledgers": (
        {"ledger": {"url": "sqlite:///x"}},
        "ledger.url and ledger.existingSecret.name exclude each other: keep one.",
    ),
    "no address": (
        {"temporal": {"address": ""}},
        (
            "temporal.address is empty: name the frontend of Temporal as host:port, e.g. --set "
            "temporal.address=temporal-frontend.temporal:7233."
        ),
    ),
    "a certificate without its key": (
        {"temporal": {"tls": {"existingSecret": "certificate", "key": ""}}},
        ("temporal.tls.certificate and temporal.tls.key belong together: name both keys of the Secret, or empty both."),
    ),
    "a Secret of which nothing is used": (
        {"temporal": {"tls": {"existingSecret": "certificate", "authority": "", "certificate": "", "key": ""}}},
        ("temporal.tls.existingSecret is set, and no key of it is used: name authority, or certificate and key."),
    ),
    "certificates, and TLS switched off": (
        {"temporal": {"tls": {"existingSecret": "c"}}, "config": {"temporal": {"tls": {"enabled": False}}}},
        ("config.temporal.tls.enabled is false, and temporal.tls.existingSecret names certificates: leave one out."),
    ),
    "certificates, and TLS switched off as the classic file does": (
        {"temporal": {"tls": {"existingSecret": "c"}}, "config": {"temporal": {"tls": False}}},
        "config.temporal.tls is false, and temporal.tls.existingSecret names certificates: leave one out.",
    ),
    "certificates, and TLS switched off in another spelling": (
        {"temporal": {"tls": {"existingSecret": "c"}}, "config": {"temporal": {"tls": {"enabled": "Off"}}}},
        "config.temporal.tls.enabled is false, and temporal.tls.existingSecret names certificates: leave one out.",
    ),
    "an authority in two places": (
        {"temporal": {"tls": {"existingSecret": "c"}}, "config": {"temporal": {"tls": {"server_ca_data": "PEM"}}}},
        "config.temporal.tls.server_ca_data would have no effect: set temporal.tls.",
    ),
    "the wrapper of a classic file, which would hide everything from these checks": (
        {"config": {"config": {"temporal": {"api_key": "sesame"}}}},
        "config.config: here is no room for the wrapper of a classic file: set what stands below it as config itself.",
    ),
    "a header that everybody may read": (
        {"config": {"temporal": {"grpc_metadata": {"Authorization": "Bearer sesame"}}}},
        (
            "config.temporal.grpc_metadata.Authorization would be readable in a ConfigMap: put it into a Secret, and "
            "name that in temporal.apiKey.existingSecret."
        ),
    ),
    "an API key as a variable beside the file": (
        {
            "temporal": {"apiKey": {"existingSecret": "key"}},
            "workerDefaults": {"env": [{"name": "FLEET_TEMPORAL__API_KEY", "value": "x"}]},
        },
        "env may not set FLEET_TEMPORAL__API_KEY: the chart does, from a value of its own (see values.yaml).",
    ),
    "an API key as a variable of one queue beside the file": (
        {
            "temporal": {"apiKey": {"existingSecret": "key"}},
            "queues": {"orders": {"env": [{"name": "FLEET_TEMPORAL__API_KEY", "value": "x"}]}},
        },
        "env may not set FLEET_TEMPORAL__API_KEY: the chart does, from a value of its own (see values.yaml).",
    ),
    "a certificate as a variable beside the file": (
        {
            "temporal": {"tls": {"existingSecret": "c"}},
            "env": [{"name": "FLEET_TEMPORAL__TLS__CLIENT_CERT_DATA", "value": "PEM"}],
        },
        (
            "env may not set FLEET_TEMPORAL__TLS__CLIENT_CERT_DATA: the chart does, from a value of its own (see "
            "values.yaml)."
        ),
    ),
    "the address by its classic name": (
        {"config": {"temporal": {"url": "elsewhere:7233"}}},
        "config.temporal.url would have no effect: set temporal.address.",
    ),
    "the drain by its classic name": (
        {"config": {"temporal": {"worker": {"drain_timeout": 600}}}},
        "config.temporal.worker.drain_timeout would have no effect: set workerDefaults.drainSeconds.",
    ),
    "the build by its classic name": (
        {"config": {"temporal": {"worker": {"worker_build_id": "7"}}}},
        "config.temporal.worker.worker_build_id would have no effect: set image.tag.",
    ),
    "the grace period, which is computed": (
        {"config": {"temporal": {"worker": {"termination_grace_s": 600}}}},
        (
            "config.temporal.worker.termination_grace_s would have no effect: set workerDefaults.drainSeconds, of "
            "which it is computed."
        ),
    ),
    "a drain of one queue by its classic name": (
        {"config": {"queues": {"orders": {"worker": {"drain_timeout": 600}}}}},
        (
            "config.queues.orders.worker.drain_timeout would contradict the pods: set drainSeconds of that queue "
            "under `queues` instead."
        ),
    ),
    "a grace period of one queue": (
        {"config": {"queues": {"orders": {"worker": {"termination_grace_s": 600}}}}},
        (
            "config.queues.orders.worker.termination_grace_s would contradict the pods: set drainSeconds of that queue "
            "under `queues` instead."
        ),
    ),
    "certificates in two places": (
        {"temporal": {"tls": {"existingSecret": "c"}}, "config": {"temporal": {"tls": {"client_cert_file": "/c"}}}},
        "config.temporal.tls.client_cert_file would have no effect: set temporal.tls.",
    ),
    "an API key in two places": (
        {"temporal": {"apiKey": {"existingSecret": "key"}}, "config": {"temporal": {"api_key_file": "/key"}}},
        "config.temporal.api_key_file would have no effect: set temporal.apiKey.",
    ),
    "an API key that everybody may read": (
        {"config": {"temporal": {"api_key": "sesame"}}},
        (
            "config.temporal.api_key would be readable in a ConfigMap: put it into a Secret, and name that in "
            "temporal.apiKey.existingSecret."
        ),
    ),
    "a private key that everybody may read": (
        {"config": {"temporal": {"tls": {"client_key_data": "PEM"}}}},
        (
            "config.temporal.tls.client_key_data would be readable in a ConfigMap: put it into a Secret, and name that "
            "in temporal.tls.existingSecret."
        ),
    ),
    "a manifest that is none": (
        {"queuesManifest": "fleet: command not found"},
        (
            "queuesManifest is not a manifest of queues: give it what `fleet queues --manifest` printed, with "
            "--set-file queuesManifest=FILE."
        ),
    ),
    "a manifest without queues": (
        {"queuesManifest": manifest()},
        (
            "queuesManifest is not a manifest of queues: give it what `fleet queues --manifest` printed, with "
            "--set-file queuesManifest=FILE."
        ),
    ),
    "a manifest with a name that no label can hold": (
        {"queuesManifest": manifest(Orders="Orders")},
        (
            'queuesManifest: "Orders" is not a queue as `fleet queues --manifest` prints them (a name of at most 40 '
            "characters that a label can hold, with its taskQueue)."
        ),
    ),
    "a manifest that lacks what pods need": (
        {"queuesManifest": manifest(a="a").replace("drainSeconds", "drain")},
        "queues.a: the manifest does not say drainSeconds; print it anew with `fleet queues --manifest`.",
    ),
    "a queue with the name of one of the chart's own": (
        {"queuesManifest": manifest(**{"fleet-api": "fleet-api"})},
        (
            "queues.fleet-api: its Deployment would have the name of one of the chart's own; call the queue something "
            "else."
        ),
    ),
    "a variable of the chart": (
        {"workerDefaults": {"env": [{"name": "FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S", "value": "5"}]}},
        (
            "env may not set FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S: the chart does, from a value of its own (see "
            "values.yaml)."
        ),
    ),
    "a variable of the chart, for the API": (
        {"api": {"env": [{"name": "FLEET_API__PORT", "value": "80"}]}},
        "env may not set FLEET_API__PORT: the chart does, from a value of its own (see values.yaml).",
    ),
    "variables of the chart, for all": (
        {"env": [{"name": "POD_NAME", "value": "x"}]},
        "env may not set POD_NAME: the chart does, from a value of its own (see values.yaml).",
    ),
    "a drain that is too short for what finishes in it": (
        {"queuesManifest": manifest({"finishSeconds": 22}, a="a"), "queues": {"a": {"drainSeconds": 21.5}}},
        'queues.a: drainSeconds (21.5) is below 22, which its on_drain="finish" activities need.',
    ),
    "a drain for all that is too short for one": (
        {"queuesManifest": manifest({"finishSeconds": 25}, a="a"), "workerDefaults": {"drainSeconds": 5}},
        'queues.a: drainSeconds (5) is below 25, which its on_drain="finish" activities need.',
    ),
    "a drain that a heartbeat outlasts": (
        {"queuesManifest": manifest({"heartbeatSeconds": 10}, a="a"), "queues": {"a": {"drainSeconds": 10}}},
        'queues.a: drainSeconds (10) is not above 10, the heartbeat_timeout of its on_drain="hand_over" activities.',
    ),
    "a drain that the grace period does not know": (
        {"config": {"queues": {"orders": {"worker": {"drain_timeout_s": 600}}}}},
        (
            "config.queues.orders.worker.drain_timeout_s would contradict the pods: set drainSeconds of that queue "
            "under `queues` instead."
        ),
    ),
    "scaling of a queue, which nothing would read": (
        {"config": {"queues": {"orders": {"scaling": {"max_replicas": 5}}}}},
        "config.queues.orders.scaling would have no effect: set it for that queue under `queues` instead.",
    ),
    "scaling, which nothing would read": (
        {"config": {"scaling": {"max_replicas": 5}}},
        "config.scaling would have no effect: set workerDefaults.",
    ),
    "an address that variables would override": (
        {"config": {"temporal": {"address": "elsewhere:7233"}}},
        "config.temporal.address would have no effect: set temporal.address.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence(helm: Helm, case: str) -> None:
    values, sentence = REFUSED[case]
    with pytest.raises(RenderFailed) as refused:
        helm.template(values, environment="staging")
    assert refused.value.sentences == [sentence]


@pytest.mark.parametrize(
    "repository", ["worker-fleet", "registry.example/worker-fleet", "registry.example:5000/a/worker-fleet"]
)
def test_the_image_may_be_in_any_registry(helm: Helm, repository: str) -> None:
    pods = helm.template({"image": {"repository": repository, "tag": "1"}}).templates().values()
    assert {container(pod)["image"] for pod in pods} == {f"{repository}:1"}


def test_a_drain_that_just_fits_what_is_promised_is_taken(helm: Helm) -> None:
    theirs = {"queuesManifest": manifest({"finishSeconds": 22, "heartbeatSeconds": 10}, a="a")}
    values = {**theirs, "queues": {"a": {"drainSeconds": 22}}}
    assert set(helm.template(values, environment="staging").workers()) == {"a"}


def test_all_problems_are_said_at_once(helm: Helm) -> None:
    with pytest.raises(RenderFailed) as refused:
        helm.template(environment="")
    assert [sentence.split(":")[0] for sentence in refused.value.sentences] == [
        "temporal.address is empty",
        "The example's queues share a ledger",
    ]


def test_a_manifest_of_ones_own_needs_no_ledger(helm: Helm) -> None:
    values = {"queuesManifest": manifest(orders="orders"), "temporal": {"address": "t:7233"}}
    objects = helm.template({**values, "image": {"repository": "registry.example/theirs"}}, environment="")
    assert set(objects.workers()) == {"orders"}


SCHEMA: dict[str, tuple[dict[str, Any], str]] = {
    "below 0": (
        {"queues": {"orders": {"minReplicas": -1}}},
        "at '/queues/orders/minReplicas': minimum: got -1, want 0",
    ),
    "above 1000": ({"workerDefaults": {"maxReplicas": 1001}}, "'/workerDefaults/maxReplicas': maximum: got 1,001"),
    "not a number": (
        {"queues": {"orders": {"maxReplicas": "ten"}}},
        "at '/queues/orders/maxReplicas': got string, want integer",
    ),
    "not whole": ({"queues": {"orders": {"maxReplicas": 2.5}}}, "at '/queues/orders/maxReplicas'"),
    "misspelt": ({"queues": {"orders": {"maxReplica": 2}}}, "additional properties 'maxReplica' not allowed"),
    "misspelt at the top": ({"queue": {}}, "additional properties 'queue' not allowed"),
    "replicas": ({"queues": {"orders": {"replicas": 2}}}, "additional properties 'replicas' not allowed"),
    "all queues waking with one": (
        {"workerDefaults": {"wakeWith": ["orders"]}},
        "at '/workerDefaults/wakeWith': maxItems: got 1, want 0",
    ),
    "all queues retired": (
        {"workerDefaults": {"retired": True}},
        "at '/workerDefaults/retired': value must be false",
    ),
    "a default taken away": ({"workerDefaults": {"minReplicas": None}}, "missing property 'minReplicas'"),
    "an address without port": ({"temporal": {"address": "temporal"}}, "at '/temporal/address'"),
    "a tag that is a number": ({"image": {"tag": 1.2}}, "at '/image/tag': got number, want string"),
    "a variable with two values": (
        {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        "at '/env/0'",
    ),
    "a password in the clear": (
        {"temporal": {"apiKey": {"value": "secret"}}},
        "additional properties 'value' not allowed",
    ),
}


@pytest.mark.parametrize("case", SCHEMA)
def test_the_schema_names_the_place(helm: Helm, case: str) -> None:
    values, text = SCHEMA[case]
    with pytest.raises(RenderFailed) as refused:
        helm.template(values)
    assert text in str(refused.value)
