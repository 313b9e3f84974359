"""Searching: spaces, the generator of variants, and the searchers that choose by what they have learned."""
