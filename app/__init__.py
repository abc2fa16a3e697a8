"""Worker Fleet for Temporal: declare workflows and activities by task queue, run and scale a worker pool per queue."""
