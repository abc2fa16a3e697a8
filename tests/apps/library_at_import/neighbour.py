from __future__ import annotations

import httpx

NAME = httpx.__name__
