"""Spaces beyond Gymnasium's, and what is done with values of spaces."""
