"""The worker process: `python -m app.worker.main serve [--queue Q]...`

The first lines matter: until Python has a handler, SIGTERM ends it with an error (or, as PID 1, is lost), and the
imports of `serve` take half a second. So an early handler comes before them; nothing polls yet, so leaving at once
loses nothing.
"""

import os
import signal

POLL_INTERRUPT_WAIT_MS = 1000
"""How long a poll that is open at the SDK's shutdown may still deliver (sdk-rust issue 1080); read by its core. Polls
for new work have come home before (polls.py); this is for the sticky ones, which go on until then."""


def _leave_early(_number: int, _frame: object) -> None:
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave_early)
    signal.signal(signal.SIGINT, _leave_early)
    os.environ.setdefault("TEMPORAL_POLL_SHUTDOWN_INTERRUPT_WAIT_MS", str(POLL_INTERRUPT_WAIT_MS))
    from app.worker.serve import main

    main()
