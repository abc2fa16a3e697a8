"""Does the policy keep its promises in all lives? `python -m benchmarks.policy_steps --until 100000`.

Steps of the state machine of tests/scaling, 5,000 a seed, each seed with other lives: how many, how long, which reasons
were met, what broke. `--mutants`: how soon each mutant of the policy is caught. `--summary` prints the tables. It goes
on from what the results have.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

from app.scaling.policy import Reason
from benchmarks.record import Record
from tests.scaling.mutants import MUTANTS, Mutant, mutated
from tests.scaling.policy_machine import lives

LIVES, STEPS = 100, 50
MUTANT_LIVES, MUTANT_STEPS, MUTANT_SEEDS = 100, 30, 10


def chunk(number: int) -> dict[str, Any]:
    """The lives of one seed."""
    began = time.process_time()
    machine = lives(LIVES, STEPS, number=number)
    reasons = {reason.value: machine.reasons[reason] for reason in Reason}
    seconds = round(time.process_time() - began, 1)
    return {"seed": number, "steps": machine.steps, "cpu_s": seconds, "reasons": reasons}


def run(until: int) -> None:
    """Seeds until the results have `until` steps."""
    record = Record("policy_steps")
    while (done := sum(line["steps"] for line in record.lines())) < until:
        number = len(record.lines()) + 1
        with record.trial(seed=number):
            result = chunk(number)
        record.add(result)
        print(done + result["steps"], result, flush=True)


def try_mutant(mutant: Mutant) -> dict[str, Any]:
    """Lives under `mutant` until one breaks a promise; "" where none did."""
    began, broken = time.process_time(), ""
    seeds = 0
    while not broken and seeds < MUTANT_SEEDS:
        seeds += 1
        try:
            with mutated(mutant) as law:
                lives(MUTANT_LIVES, MUTANT_STEPS, law, seeds)
        except AssertionError as error:
            broken = str(error).splitlines()[0]
    return {"mutant": mutant.what, "seeds": seeds, "cpu_s": round(time.process_time() - began, 1), "broken": broken}


def run_mutants() -> None:
    """Those that the results do not have."""
    record = Record("policy_mutants")
    for mutant in MUTANTS:
        if not record.lines(mutant=mutant.what):
            record.add(result := try_mutant(mutant))
            print(result, flush=True)


def summary() -> str:
    """The tables of the docs."""
    record, tried = Record("policy_steps"), Record("policy_mutants").lines()
    lines, reasons = record.lines(), Counter[str]()
    for line in lines:
        reasons.update(line["reasons"])
    steps, cpu_s = sum(line["steps"] for line in lines), sum(line["cpu_s"] for line in lines)
    told = f"{len(lines)} seeds, {steps} steps, {reasons.total()} decisions, {cpu_s:.0f} s of CPU"
    met = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    rows = [
        told,
        f"Reasons: {met}",
        "",
        "| taken out | seeds of 3,000 steps until it was missed | by |",
        "|---|---|---|",
    ]
    rows += [f"| {line['mutant']} | {line['seeds']} | {line['broken'] or 'nothing: it survived'} |" for line in tried]
    return "\n".join([*rows, "", record.footnote()])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="Whether the policy keeps its promises in all lives.")
    parser.add_argument("--until", type=int, default=5000, help="steps that the results then have")
    parser.add_argument("--mutants", action="store_true", help="try each mutant of the policy")
    parser.add_argument("--summary", action="store_true", help="print the tables of the results so far")
    arguments = parser.parse_args()
    if arguments.mutants:
        run_mutants()
    elif not arguments.summary:
        run(arguments.until)
    print(summary(), flush=True)


if __name__ == "__main__":
    main()
