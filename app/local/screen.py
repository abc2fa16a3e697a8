"""What the user of `fleet dev` sees: a live table of the queues on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Protocol

from app.local.fleet import LocalPool
from app.local.orders import Load


class Screen(Protocol):
    """Takes lines, and a look at the pools now and then."""

    def say(self, line: str) -> None: ...
    def show(self, pools: Iterable[LocalPool], load: Load) -> None: ...
    def close(self) -> None: ...


class Lines:
    """Plain lines; the pools are shown by the decisions that change them."""

    def say(self, line: str) -> None:
        print(line, flush=True)

    def show(self, pools: Iterable[LocalPool], load: Load) -> None:
        pass

    def close(self) -> None:
        pass


class Table:
    """A table that stays at the bottom, under the lines."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def show(self, pools: Iterable[LocalPool], load: Load) -> None:
        from rich.table import Table as RichTable

        table = RichTable(box=None, pad_edge=False, header_style="bold")
        for name in ("QUEUE", "READY", "WANTED", "BACKLOG", "AGE", "SLOTS", "REASON"):
            table.add_column(name, justify="left" if name in ("QUEUE", "REASON") else "right", no_wrap=name != "REASON")
        for pool in pools:
            table.add_row(*row(pool))
        if load.placed or load.refused:
            table.caption = f"{load.placed} orders placed, {load.refused} refused"
        self._live.update(table, refresh=True)

    def close(self) -> None:
        self._live.stop()


def screen() -> Screen:
    """The right one for standard output."""
    return Table() if sys.stdout.isatty() else Lines()


def row(pool: LocalPool) -> tuple[str, ...]:
    """One queue's line: the columns of `kubectl get workerpools`; `?` is unknown, never 0."""
    types = pool.demand.types if pool.demand else ()
    backlogs = [t.backlog for t in types if t.backlog is not None]
    ages = [t.backlog_age_s for t in types if t.backlog_age_s is not None]
    used = [t.used_slots for t in types if t.task_type == "activity" and t.used_slots is not None]
    slots = [t.total_slots for t in types if t.task_type == "activity" and t.total_slots is not None]
    return (
        pool.queue,
        str(pool.ready),
        str(pool.wanted),
        str(sum(backlogs)) if backlogs else "?",
        f"{max(ages):.0f}s" if ages else "?",
        f"{sum(used)}/{sum(slots)}" if slots else "?",
        f"{pool.decision.reason}: {pool.decision.message}" if pool.decision else "",
    )
