"""The policy with one line of its safety taken out, as modules of their own: nothing is written to disk.

Each mutant is one replacement in the source of `policy`, `memory` or `demand`, and its text must be there exactly once:
whoever changes a line of safety is asked here what the machine still says of it.
"""

# ruff: noqa: E501 - a table with one mutant a line is read, one of six lines each is not
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

from app.scaling import demand, memory, policy

FOLDER = Path(policy.__file__).parent
MODULES = (demand, memory, policy)  # each may import those before it


class Mutant(NamedTuple):
    """`old` becomes `new` in a module; what is then missing."""

    what: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    """More such pairs, where one line stands in for another."""


NEED = "math.ceil(held / slots), min(backlog, 1))"
UNKNOWN = 'if demand.known != "Full" or not demand.running:'
UNREPORTED = ", current - len(demand.running))"
# fmt: off
MUTANTS = (
    # need
    Mutant("old statistics ask for replicas", "policy", "backlog = past.counted - past.doubted if t.fresh else 0\n", "backlog = past.counted - past.doubted\n"),
    Mutant("what waits is not believed but counted", "policy", "backlog = past.counted - past.doubted if t.fresh else 0\n", "backlog = past.counted if t.fresh else 0\n"),
    Mutant("a waiting task may need many slots", "policy", "min(1.0, past.service_s / policy.max_wait_s)", "past.service_s / policy.max_wait_s"),
    # brakes
    Mutant("a rate limit does not brake", "policy", "if t.rate_limited and want.replicas > allowed:", "if False:"),
    Mutant("tasks that nobody takes grow the pool", "policy", "if backlog and stuck and min(age_s, staffed_s) >= STUCK_S:", "if False:"),
    Mutant("one more at each look for work that waits long", "policy", "least = current + (staffed_s - STATISTICS_AGE_S > policy.max_wait_s)", "least = current + 2"),
    Mutant("replicas that do not start are no brake", "policy", "if want.replicas <= current or (waited_s := now - memory.missing_since) < START_S:", "waited_s = 0.0\n    if True:"),
    Mutant("no failure is remembered", "memory", "now if failed else memory.failed_at", "memory.failed_at"),
    Mutant("an outage is no failure", "policy", "needs=needs, failed_at=now, ", "needs=needs, "),
    Mutant("what is doubted is believed at the next answer", "memory", "min(past.doubted + max(0, came)", "min(max(0, came)"),
    Mutant("more is doubted than was told", "memory", "t.backlog - 1)) if since_s < DOUBT_S else 0", "t.backlog + 99)) if since_s < DOUBT_S else 0"),
    Mutant("an old count is forgotten in a failure", "memory", "past.counted_at < TAKEN_IN_S + 75 else", "past.counted_at < TAKEN_IN_S else"),
    Mutant("doubt does not end", "memory", "if since_s < DOUBT_S else 0", "if True else 0"),
    Mutant("the oldest task is never the same", "memory", "same = abs(oldest_at - past.oldest_at) <= CACHED_S", "same = False"),
    Mutant("tasks that are passed by grow the pool", "policy", "(passed_by or (t.dispatch_rate", "((t.dispatch_rate"),
    Mutant("tasks that a limit holds back have no handler", "policy", "free and not t.rate_limited and", "free and"),
    Mutant("nobody is ever missing", "memory", "if heard and workers < current else math.inf", "if False else math.inf"),
    Mutant("whoever starts is at work", "memory", "if current and (workers >= current or not heard) else math.inf", "if current else math.inf"),
    Mutant("one count adds replicas twice", "policy", "if backlog and min(want.replicas, policy.max_replicas) > current > past.replicas:", "if False:"),
    Mutant("a count adds to the most since it was taken", "memory", "min(past.replicas, current)", "past.replicas"),
    Mutant("a late decision makes a count new", "memory", "past.counted_at + 1:", "past.counted_at + 0.001:"),
    # floor and ceiling
    Mutant("no floor for the work in hand", "policy", "    if want.replicas < floor:\n", "    if False:\n", ((NEED, "min(backlog, 1))"),)),
    Mutant("the floor is of one task type", "policy", "floor = max(fits.get(\"activity\", 0), ", "floor = max(", ((NEED, "min(backlog, 1))"),)),
    Mutant("long activities are cut", "policy", "if policy.long_activities else 0", "if False else 0"),
    Mutant("no minimum", "policy", "    if want.replicas < policy.min_replicas:\n", "    if False:\n"),
    Mutant("no maximum", "policy", "return want if want.replicas <= most else", "return want if True else"),
    Mutant("the maximum first, the floor after it", "policy", "_ceiling(policy, _floor(policy, demand, current, _missing(memory, now, current, want)))", "_floor(policy, demand, current, _ceiling(policy, _missing(memory, now, current, want)))"),
    Mutant("switched off, and one stays", "policy", "if policy.min_replicas > 0 or policy.max_replicas == 0:", "if policy.min_replicas > 0:"),
    Mutant("a lowered maximum waits", "policy", "if current > most and want.reason is not Reason.AT_MAXIMUM:", "if False:"),
    Mutant("the maximum waits for Temporal", "policy", "want = _ceiling(policy, _woken(demand, kept, want) if demand else want)", "want = _woken(demand, kept, want) if demand else want"),
    # doubt
    Mutant("unknown demand keeps the minimum", "policy", "kept = max(current, policy.min_replicas)", "kept = policy.min_replicas"),
    Mutant("unknown demand ignores the minimum", "policy", "kept = max(current, policy.min_replicas)", "kept = current"),
    Mutant("half of the demand shrinks", "policy", UNKNOWN, "if not demand.running:", (("and due and demand.fresh:", "and due:"),)),
    Mutant("a fleet that has not reported shrinks", "policy", UNKNOWN, 'if demand.known != "Full":', ((UNREPORTED, ")"),)),
    Mutant("those that have not reported are idle", "policy", UNREPORTED, ")"),
    Mutant("an outage is no need", "policy", "needs = remember(policy, memory, kept, now, current)", "needs = remember(policy, memory, 0, now, current)"),
    Mutant("looks without workers are no need", "policy", "need = want.replicas if demand.running else max(want.replicas, current)", "need = want.replicas"),
    Mutant("an outage is calm", "policy", "calm_since=math.inf, staffed_since=math.inf)", "staffed_since=math.inf)"),
    Mutant("a new autoscaler shrinks at once", "memory", "else ((now, current),)", "else ()"),
    Mutant("a gap without looks is a calm one", "memory", "min(now if gone(memory, now) else memory.calm_since, now)", "min(memory.calm_since, now)"),
    Mutant("a gap without looks needs nothing", "memory", "past = memory.needs if not gone(memory, now) else", "past = memory.needs if memory.needs else"),
    # window and step
    Mutant("no window", "policy", "least = max(want.replicas, memory.needs[0][1], ", "least = max(want.replicas, "),
    Mutant("the window forgets the highest need", "memory", "and n[1] > need)", "and False)"),
    Mutant("no limit of a step", "policy", "lowest = max(least, current - max(1, current * policy.max_percent // 100))", "lowest = least"),
    Mutant("a step at each look", "policy", "due = now - memory.shrunk_at >= min(STEP_DOWN_EVERY_S, window_s)", "due = True"),
    Mutant("steps are not remembered", "policy", "shrunk_at = now if want.replicas < current else memory.shrunk_at", "shrunk_at = memory.shrunk_at"),
    Mutant("a step does not wait for those that leave", "policy", "(leaving := len(demand.workers) - len(demand.running)):", "(leaving := 0):"),
    Mutant("a step on old statistics", "policy", "if lowest < current and due and demand.fresh:", "if lowest < current and due:"),
    # wake and zero
    Mutant("the start of a workflow wakes nobody", "policy", "if (demand.woken or waits) and not want.replicas", "if waits and not want.replicas"),
    Mutant("old waiting work wakes nobody", "policy", "if (demand.woken or waits) and not want.replicas", "if demand.woken and not want.replicas"),
    Mutant("a start wakes nobody while Temporal is away", "policy", "_woken(demand, kept, want) if demand else want)", "want)"),
    Mutant("zero below a minimum", "policy", "if policy.min_replicas > 0 or policy.max_replicas == 0:", "if policy.max_replicas == 0:"),
    Mutant("zero without a rest", "policy", "memory.calm_since <= now - policy.idle_s", "demand.calm"),
    Mutant("zero on old statistics", "policy", "if rested and demand.fresh:", "if rested:"),
    Mutant("zero for many at once", "policy", "rested = current == 1 and", "rested ="),
    Mutant("no last replica", "policy", "if want.replicas == 0 or (current == 1 and want.reason is Reason.STABILIZING):", "if False:"),
    Mutant("calm without heartbeats", "memory", "calm = demand.calm and (current == 0 or workers > 0)", "calm = demand.calm"),
    Mutant("calm does not end", "memory", ", now) if calm else math.inf", ", now)"),
    # what a demand says of itself
    Mutant("statistics are always new", "demand", "self.backlog is not None and (self.stats_age_s or 0.0) <= FRESH_S", "self.backlog is not None"),
    Mutant("one type's new statistics do for all", "demand", "return all(t.fresh for t in self.types)", "return any(t.fresh for t in self.types)"),
    Mutant("half known is known", "demand", '"Full" if all(read) else', '"Full" if any(read) else'),
    Mutant("those that drain are at work", "demand", "tuple(w for w in self.workers if not w.draining)", "self.workers"),
    Mutant("calm while tasks wait", "demand", "any(t.backlog or t.used_slots", "any(t.used_slots"),
    Mutant("calm while tasks run", "demand", "t.backlog or t.used_slots or", "t.backlog or", ((" or any(w.used_slots for w in self.workers))", ")"),)),
    Mutant("calm while tasks come", "demand", "or t.add_rate or", "or"),
    Mutant("calm while tasks end", "demand", " or t.processed_per_s for t", " for t"),
)
# fmt: on
RARE = {
    "a count adds to the most since it was taken",
    "replicas that do not start are no brake",
    "zero below a minimum",
    "a start wakes nobody while Temporal is away",
    "tasks that are passed by grow the pool",
    "no failure is remembered",
    "doubt does not end",
    "the oldest task is never the same",
    "nobody is ever missing",
    "switched off, and one stays",
    "a fleet that has not reported shrinks",
    "those that have not reported are idle",
    "a gap without looks is a calm one",
    "a gap without looks needs nothing",
    "calm without heartbeats",
    "calm while tasks run",
    "tasks that a limit holds back have no handler",
}
"""Missed as well, but later than a test has time for: `python -m benchmarks.policy_steps --mutants`."""


@contextmanager
def mutated(mutant: Mutant) -> Iterator[SimpleNamespace]:
    """The modules, with `mutant` in them. Raises ValueError where its text is not there once."""
    law = SimpleNamespace()
    try:
        for module in MODULES:
            name = module.__name__.rpartition(".")[2]
            source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
            for old, new in [mutant[2:4], *mutant.also] if name == mutant.module else ():
                if (found := source.count(old)) != 1:
                    raise ValueError(f"{mutant.what}: {old!r} is {found} times in {name}.py")
                source = source.replace(old, new)
            made = ModuleType(module.__name__)
            sys.modules[made.__name__] = made  # dataclasses look their module up, and the next one imports it
            exec(compile(source, f"{name} where {mutant.what}", "exec"), made.__dict__)
            setattr(law, name, made)
    finally:
        sys.modules.update({module.__name__: module for module in MODULES})
    yield law
