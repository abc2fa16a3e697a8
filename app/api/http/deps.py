"""What an app of your own needs: `FastAPI(lifespan=lifespan)`, and `Depends(get_temporal_service)` in its routes.

No FastAPI here, and no parameters, so that `app.dependency_overrides` and plain calls work alike, and so that a program
without FastAPI can share the connection too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache

from temporalio.service import RetryConfig

from app.core.config import SettingsNotLoaded, get_settings, use
from app.core.config.load import load_settings
from app.core.services.temporal.deadline import deadline_plugin
from app.core.services.temporal.plugin import fleet_plugins
from app.core.services.temporal.temporal_client import TemporalClientService
from app.core.telemetry import tracing
from app.core.telemetry.runtime import client_runtime

__all__ = ["get_temporal_service", "lifespan"]


@lru_cache(maxsize=1)
def get_temporal_service() -> TemporalClientService:
    """The shared service, made at the first call; it connects at its own first use. Raises SettingsNotLoaded."""
    settings = get_settings().temporal
    # Somebody waits for the answer: by itself the SDK repeats a failed call for 10 s, whatever the limit of the call.
    retry = RetryConfig(max_elapsed_time_millis=int(settings.rpc_timeout_s * 500))
    plugins = [*fleet_plugins(), deadline_plugin(timedelta(seconds=settings.rpc_timeout_s))]
    return TemporalClientService(settings, plugins=plugins, runtime=client_runtime(), retry=retry)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Settings and tracing for an app that uvicorn imported; the Temporal connection is made by the first request.

    Raises ConfigError. To do more, enter it in a lifespan of your own: `async with lifespan(app): ...`.
    """
    try:
        get_settings()
    except SettingsNotLoaded:
        use(load_settings())
    tracing.configure("api")
    yield
    if get_temporal_service.cache_info().currsize:
        await get_temporal_service().close()
        get_temporal_service.cache_clear()
