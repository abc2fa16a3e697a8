"""Small applications that the tests run in place of the example."""
