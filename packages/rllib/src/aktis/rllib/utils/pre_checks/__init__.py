"""Checks of what users give, before anything is sampled."""
