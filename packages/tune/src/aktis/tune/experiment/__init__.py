"""Trials, and what an experiment is made of."""
