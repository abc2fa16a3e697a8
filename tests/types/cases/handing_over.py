# pyright: strict
"""Checkpoints: `resumed` has the type of its default, or the one that is asked for."""

from __future__ import annotations

from typing import assert_type

import pydantic

from app.worker.hand_over import checkpoint, resumed


class Progress(pydantic.BaseModel):
    rows: int = 0


async def export() -> None:
    assert_type(resumed(0), int)
    assert_type(resumed(Progress()), Progress)
    assert_type(resumed(None, Progress), Progress | None)
    assert_type(resumed((0, ""), tuple[int, str]), tuple[int, str])
    assert_type(resumed([Progress()], list[Progress]), list[Progress])
    checkpoint()
    checkpoint(1, Progress())
    done: str = resumed(0)  # WRONG
    late: int = resumed(None, int)  # WRONG
    other: int = resumed(0, Progress)  # WRONG
    resumed()  # WRONG
    await checkpoint(done, late, other)  # WRONG
