"""A package whose own import fails."""

raise RuntimeError("no settings for below")
