"""The worker process: `python -m app.worker.main serve [--queue Q]...`

The first lines matter: until Python has a handler, SIGTERM ends it with an error (or, as PID 1, is lost), and the
imports of `serve` take half a second. So an early handler comes before them; nothing polls yet, so leaving at once
loses nothing.
"""

import os
import signal

POLL_INTERRUPT_WAIT_MS = 1500
"""How long a poll that is open at shutdown may still deliver. Without it a task that is matched in that moment is
started on the server and runs nowhere until its timeout (sdk-rust issue 1080). Read by the SDK's core."""


def _leave_early(_number: int, _frame: object) -> None:
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave_early)
    signal.signal(signal.SIGINT, _leave_early)
    os.environ.setdefault("TEMPORAL_POLL_SHUTDOWN_INTERRUPT_WAIT_MS", str(POLL_INTERRUPT_WAIT_MS))
    from app.worker.serve import main

    main()
