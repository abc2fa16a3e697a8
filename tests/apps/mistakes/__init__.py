"""Workflows that each make one mistake while they run."""
