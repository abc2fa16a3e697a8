"""Autoscalers of Temporal workers compared in simulated time: see `python -m benchmarks.scaling --help`."""
