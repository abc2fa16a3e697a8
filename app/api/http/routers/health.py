"""/healthz: the process answers. /readyz: Temporal and the namespace answer too, unless Temporal is switched off."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.http.deps import get_temporal_service
from app.core.services.temporal.temporal_client import TemporalClientService

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"ok": True}


@router.get("/readyz")
async def readyz(
    response: Response, temporal: Annotated[TemporalClientService, Depends(get_temporal_service)]
) -> dict[str, object]:
    if not temporal.is_enabled:
        return {"ok": True, "temporal": {"enabled": False}}
    health = await temporal.health_check()
    if not health.ok:
        response.status_code = 503
    return {"ok": health.ok, "temporal": {"latency_s": round(health.latency_s, 4), "error": health.error}}
