"""The worker process: `python -m app.worker.main serve [--queue Q]...`

The first lines matter: until Python has a handler, SIGTERM ends it with an error (or, as PID 1, is lost), and the
imports of `serve` take half a second. So an early handler comes before them; nothing polls yet, so leaving at once
loses nothing.
"""

import os
import signal


def _leave_early(_number: int, _frame: object) -> None:
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave_early)
    signal.signal(signal.SIGINT, _leave_early)
    from app.worker.serve import main

    main()
