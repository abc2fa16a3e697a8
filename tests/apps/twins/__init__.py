"""Two activities of one name on one queue."""
