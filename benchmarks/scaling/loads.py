"""The loads, each with what makes it hard as arguments: tuning.py and holdout.py give these different values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

from benchmarks.scaling.work import (
    Draw,
    Job,
    activities,
    fixed,
    lognormal,
    pareto,
    poison,
    poisson,
    unhandled,
    workflows,
)

Load = Callable[[Random], list[Job]]


def step(low: float, times: float, at: float, until: float, task_s: float) -> Load:
    """`times` as many a second from one moment to the next."""
    return _activities(lambda t: low * (times if t >= at else 1), low * times, until, lognormal(task_s))


def ramp(low: float, high: float, begin: float, end: float, until: float, task_s: float) -> Load:
    """A straight line up, and as fast down again."""
    half = (end - begin) / 2

    def rate(t: float) -> float:
        return low + (high - low) * max(0.0, 1 - abs(t - begin - half) / half)

    return _activities(rate, high, until, lognormal(task_s))


def spikes(base: float, size: int, within_s: float, mean_gap_s: float, until: float, task_s: float) -> Load:
    """A calm stream, and now and then `size` tasks at once."""

    def load(rng: Random) -> list[Job]:
        draw = lognormal(task_s)
        jobs = activities(rng, poisson(rng, lambda _: base, base, until), draw)
        for at in poisson(rng, lambda _: 1 / mean_gap_s, 1 / mean_gap_s, until):
            jobs += activities(rng, iter(sorted(at + rng.random() * within_s for _ in range(size))), draw)
        return jobs

    return load


def diurnal(night: float, day: float, day_s: float, until: float, task_s: float) -> Load:
    """A sine of one day, with noise of minutes on it."""

    def load(rng: Random) -> list[Job]:
        noise = [rng.lognormvariate(0, 0.15) for _ in range(int(until / 300) + 2)]

        def rate(t: float) -> float:
            wave = (1 - math.cos(2 * math.pi * t / day_s)) / 2
            return (night + (day - night) * wave) * noise[int(t / 300)]

        return activities(rng, poisson(rng, rate, day * max(noise), until), lognormal(task_s))

    return load


def on_off(rate: float, on_s: float, off_s: float, until: float, task_s: float) -> Load:
    """Work for a while and none for a while, with a period near somebody's window or cooldown."""

    def load(rng: Random) -> list[Job]:
        shift = rng.random() * (on_s + off_s)
        moments = poisson(rng, lambda t: rate * ((t + shift) % (on_s + off_s) < on_s), rate, until)
        return activities(rng, moments, lognormal(task_s))

    return load


def sparse(mean_gap_s: float, until: float, task_s: float) -> Load:
    """A workflow now and then."""

    def load(rng: Random) -> list[Job]:
        moments = poisson(rng, lambda _: 1 / mean_gap_s, 1 / mean_gap_s, until)
        return workflows(rng, moments, lognormal(task_s))

    return load


def heavy(rate: float, least_s: float, alpha: float, most_s: float, until: float) -> Load:
    """Pareto durations."""
    return _activities(lambda _: rate, rate, until, pareto(least_s, alpha, most_s))


def mixed(rate: float, steps: int, eager: float, burst: float, period_s: float, until: float, task_s: float) -> Load:
    """Workflows whose activities run on the same queue; `burst` times as many for a fifth of each period."""

    def load(rng: Random) -> list[Job]:
        moments = poisson(rng, lambda t: rate * (burst if t % period_s < period_s / 5 else 1), rate * burst, until)
        return workflows(rng, moments, lognormal(task_s), steps, eager)

    return load


def poisoned(rate: float, failing: int, stranded: int, at: float, until: float, task_s: float) -> Load:
    """A calm stream; from `at` on some tasks fail for ever, and some have no handler."""

    def load(rng: Random) -> list[Job]:
        jobs = activities(rng, poisson(rng, lambda _: rate, rate, until), lognormal(task_s))
        jobs += [poison(at + rng.random() * 10, task_s, until) for _ in range(failing)]
        jobs += [unhandled(at + rng.random() * 10) for _ in range(stranded)]
        return jobs

    return load


def steady(rate: float, until: float, task_s: float) -> Load:
    """The same rate all the time."""
    return _activities(lambda _: rate, rate, until, lognormal(task_s))


def bursts(base: float, rate: float, moments: tuple[float, ...], length_s: float, until: float, task_s: float) -> Load:
    """`rate` a second for `length_s` at given moments, `base` else: a backlog is there when something else happens."""

    def wave(t: float) -> float:
        return rate if any(at <= t < at + length_s for at in moments) else base

    return _activities(wave, rate, until, lognormal(task_s))


def long(batch: int, gap_s: float, task_s: float, until: float) -> Load:
    """A few long activities at once, and none waiting while they run."""

    def load(rng: Random) -> list[Job]:
        starts = poisson(rng, lambda _: 1 / gap_s, 1 / gap_s, until)
        moments: Iterator[float] = iter(sorted(at + rng.random() for at in starts for _ in range(batch)))
        return activities(rng, moments, fixed(task_s))

    return load


def _activities(rate: Callable[[float], float], most: float, until: float, draw: Draw) -> Load:
    return lambda rng: activities(rng, poisson(rng, rate, most, until), draw)
