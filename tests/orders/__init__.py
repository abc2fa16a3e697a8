import pytest

# Its assertions shall say as much as those of the tests that call them.
pytest.register_assert_rewrite("tests.orders.trace")
