"""The load: jobs, each a chain of tasks, drawn from a seed before anything is simulated.

Every scaler of a comparison gets the same jobs. A workflow is a chain of workflow tasks and activities; a poison task
is a chain of attempts that each fail, with the retry's growing pauses between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

WORKFLOW, ACTIVITY = "workflow", "activity"
RETRY_S, RETRY_MOST_S = 1.0, 100.0  # Temporal's defaults: 1 s, doubling, at most 100 s
WORKFLOW_TASK_S = 0.02


@dataclass(frozen=True, slots=True)
class Stage:
    """One task of a job. `gap_s`: from the end of the one before until it is there.

    `hidden`: a sticky workflow task or an eager activity, which goes past matching to the worker that has the job.
    """

    kind: str
    service_s: float
    gap_s: float = 0.0
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """`handled` False: no worker takes its task, which waits for ever."""

    arrival: float
    stages: tuple[Stage, ...]
    handled: bool = True


Draw = Callable[[Random], float]


def lognormal(mean_s: float, sigma: float = 0.5) -> Draw:
    """Service times as they mostly are: some are a few times longer than most."""
    mu = math.log(mean_s) - sigma * sigma / 2
    return lambda rng: rng.lognormvariate(mu, sigma)


def pareto(least_s: float, alpha: float, most_s: float) -> Draw:
    """A heavy tail: few tasks bring most of the work."""
    return lambda rng: min(most_s, least_s * rng.paretovariate(alpha))


def fixed(service_s: float) -> Draw:
    """All the same."""
    return lambda rng: service_s


def poisson(rng: Random, rate: Callable[[float], float], most: float, until: float) -> Iterator[float]:
    """Moments of arrivals at `rate(t)` a second, which never is above `most`."""
    at = 0.0
    while (at := at + rng.expovariate(most)) < until:
        if rng.random() * most < rate(at):
            yield at


def activities(rng: Random, moments: Iterator[float], draw: Draw) -> list[Job]:
    """One activity a moment."""
    return [Job(at, (Stage(ACTIVITY, draw(rng)),)) for at in moments]


def workflows(rng: Random, moments: Iterator[float], draw: Draw, steps: int = 1, eager: float = 0.0) -> list[Job]:
    """A workflow a moment: `steps` activities one after the other, a share `eager` of them given out eagerly."""
    jobs = []
    for at in moments:
        stages = [Stage(WORKFLOW, WORKFLOW_TASK_S)]
        for _ in range(steps):
            stages.append(Stage(ACTIVITY, draw(rng), hidden=rng.random() < eager))
            stages.append(Stage(WORKFLOW, WORKFLOW_TASK_S, hidden=True))
        jobs.append(Job(at, tuple(stages)))
    return jobs


def poison(at: float, service_s: float, until: float) -> Job:
    """An activity that fails after `service_s`, each time that it is tried, until `until`."""
    stages, pause_s, spent = [Stage(ACTIVITY, service_s)], RETRY_S, at + service_s
    while spent < until:
        stages.append(Stage(ACTIVITY, service_s, gap_s=pause_s))
        spent, pause_s = spent + pause_s + service_s, min(2 * pause_s, RETRY_MOST_S)
    return Job(at, tuple(stages))


def unhandled(at: float) -> Job:
    """An activity that no worker takes."""
    return Job(at, (Stage(ACTIVITY, 1.0),), handled=False)


def after_outage(jobs: list[Job], begin: float, end: float, rng: Random) -> list[Job]:
    """Starts that a server out of reach refused: the callers try again, and succeed soon after `end`."""
    moved = [
        Job(end + rng.random() * 5, job.stages, job.handled) if begin <= job.arrival < end else job for job in jobs
    ]
    return sorted(moved, key=lambda job: job.arrival)
