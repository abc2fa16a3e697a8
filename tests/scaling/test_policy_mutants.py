"""The policy without one of its lines of safety breaks a promise soon: what the machine holds for true, it checks.

The whole table, and how soon, is made by `python -m benchmarks.policy_steps --mutants`.
"""

from __future__ import annotations

import pytest

from .mutants import MUTANTS, RARE, Mutant, mutated
from .policy_machine import lives

SOON = [mutant for mutant in MUTANTS if mutant.what not in RARE]


@pytest.mark.parametrize("mutant", SOON, ids=lambda mutant: mutant.what)
def test_what_is_taken_out_is_missed(mutant: Mutant) -> None:
    with mutated(mutant) as law, pytest.raises(AssertionError):
        lives(100, 30, law)


def test_every_mutant_is_one_of_the_code_as_it_is() -> None:
    names = [mutant.what for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(names) >= RARE
    for mutant in MUTANTS:
        with mutated(mutant):
            pass
