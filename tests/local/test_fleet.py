"""What of the configuration reaches the local fleet."""

from __future__ import annotations

from app.core.config.model import Settings
from app.core.config.worker import RELEASE_S
from app.local.fleet import policy_of, worker_grace_s

SETTINGS = Settings.model_validate(
    {
        "scaling": {"max_replicas": 7},
        "queues": {
            "payments": {
                "scaling": {"min_replicas": 2, "max_replicas": 3},
                "worker": {"max_concurrent_activities": 4, "drain_timeout_s": 100},
            }
        },
    }
)


def test_minimum_and_maximum_of_a_queue_come_from_its_section() -> None:
    payments, orders = policy_of(SETTINGS, "payments"), policy_of(SETTINGS, "orders")
    assert (payments.min_replicas, payments.max_replicas, payments.slots_per_replica) == (2, 3, 4)
    assert (orders.min_replicas, orders.max_replicas, orders.slots_per_replica) == (1, 7, 10)


def test_the_grace_of_workers_covers_the_longest_drain() -> None:
    assert worker_grace_s(SETTINGS) == 100 + 5 + RELEASE_S + 3 + 3
