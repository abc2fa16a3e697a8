"""An event loop that is blocked: said with its place, seen in the metrics, and the end of liveness."""

from __future__ import annotations

from pathlib import Path

from tests import apps
from tests.apps.faults import Blocks
from tests.local.dev_fleet import until
from tests.mistakes.page import Outcome, Section, mistake
from tests.worker.served import Served, start

FILE = Path(apps.__file__).parent / "faults" / "__init__.py"


@mistake("An activity that blocks the event loop")
def test_the_line_that_blocks_the_loop_is_named_before_liveness_fails(
    page: Section, worker: Served, temporal_address: str
) -> None:
    start(temporal_address, Blocks, 15.0)
    line = next(number for number, text in enumerate(FILE.read_text().splitlines(), 1) if "time.sleep(" in text)
    told = f"the event loop has been blocked for 2 s at tests/apps/faults/__init__.py:{line} in hold_the_loop."
    until(lambda: told in worker.text(), 15)
    until(lambda: worker.probe("/livez")[0] == 503, 15)
    lag = next(text for text in worker.metrics().splitlines() if text.startswith("fleet_worker_loop_lag_seconds "))
    assert float(lag.split()[1]) > 1
    until(lambda: worker.probe("/livez")[0] == 200, 30)
    page.shows(Outcome.LOGGED, worker.text())
    assert worker.text().count("the event loop has been blocked") == 1
