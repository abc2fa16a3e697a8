"""The policy without one of its lines of safety breaks a promise soon: what the machine holds for true, it checks.

The whole table, and how soon, is made by `python -m benchmarks.policy_steps --mutants`.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from .life import REAL
from .mutants import MUTANTS, RARE, Mutant, mutated
from .policy_machine import lives


def same_lives(law: SimpleNamespace) -> None:
    lives(100, 30, law, number=1)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.what not in RARE], ids=lambda mutant: mutant.what)
def test_what_is_taken_out_is_missed(mutant: Mutant) -> None:
    with mutated(mutant) as law, pytest.raises(AssertionError):
        same_lives(law)


def test_in_the_same_lives_nothing_is_missed_of_the_policy_as_it_is() -> None:
    same_lives(REAL)


def test_every_mutant_is_one_of_the_code_as_it_is() -> None:
    names = [mutant.what for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(names) >= RARE
    for mutant in MUTANTS:
        with mutated(mutant):
            pass
