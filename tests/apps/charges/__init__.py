"""Activities that are methods, callable objects and partial functions, and a workflow that calls each."""
