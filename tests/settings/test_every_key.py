"""No key without a proof: a setting that nothing reads is a lie, and must not exist."""

from __future__ import annotations

from collections import Counter

from app.core.config.keys import groups
from tests.settings import (
    test_calls,
    test_connection,
    test_credentials,
    test_local,
    test_operator,
    test_scaling,
    test_worker,
    test_worker_process,
)

MODULES = (
    test_calls,
    test_connection,
    test_credentials,
    test_local,
    test_operator,
    test_scaling,
    test_worker,
    test_worker_process,
)
PROVEN = Counter(each.key for module in MODULES for each in module.CASES)
KEYS = frozenset(key.name for group in groups() for key in group.keys)


def test_every_key_has_a_proof() -> None:
    assert sorted(KEYS - PROVEN.keys()) == []


def test_no_proof_is_of_a_key_that_is_gone() -> None:
    assert sorted(PROVEN.keys() - KEYS) == []


def test_no_key_is_proven_twice() -> None:
    assert [key for key, times in PROVEN.items() if times > 1] == []
