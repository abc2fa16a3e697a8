"""Dependencies for FastAPI routes: `Depends(get_temporal_service)` gives the process's one Temporal connection.

No FastAPI here, and no parameters, so that `app.dependency_overrides` and plain calls work alike.
"""

from __future__ import annotations

from functools import lru_cache

from app.core.config import get_settings
from app.core.services.temporal.temporal_client import TemporalClientService
from app.core.telemetry.runtime import client_runtime


@lru_cache(maxsize=1)
def get_temporal_service() -> TemporalClientService:
    """The shared service, made at the first call; it connects at its own first use. Raises SettingsNotLoaded."""
    return TemporalClientService(get_settings().temporal, runtime=client_runtime())
