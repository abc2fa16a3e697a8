"""Activities whose worker leaves while they are at work; each body writes a line at its start, end and each step."""
