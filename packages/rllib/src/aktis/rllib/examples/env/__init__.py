"""Small environments for examples and tests."""
