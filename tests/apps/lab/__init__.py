"""Workflows and activities that show one property each."""
