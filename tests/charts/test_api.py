"""The API's pods: they are gone within their grace, with every answer given."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest

from app.api.http import main
from app.core.exit import finish
from tests.charts.render import Helm, variables

pytestmark = pytest.mark.charts

FLUSH_S = signature(finish).parameters["flush_s"].default


@pytest.mark.parametrize(
    ("config", "delay_s"), [({}, 5), ({"api": {"shutdown_delay_s": 12.5}}, 12.5), ({"api": {"shutdown_delay_s": 0}}, 0)]
)
def test_what_it_does_after_sigterm_fits_the_grace(helm: Helm, config: dict[str, Any], delay_s: float) -> None:
    pod = helm.template({"api": {"enabled": True}, "config": config}).templates()["shop-fleet-api"]
    assert float(variables(pod)["FLEET_API__SHUTDOWN_DELAY_S"] or "x") == delay_s
    needed_s = delay_s + main.LINGER_S + main.FINISH_REQUESTS_S + main.CUT_S + FLUSH_S
    assert needed_s + 3 <= pod["terminationGracePeriodSeconds"] <= needed_s + 10
