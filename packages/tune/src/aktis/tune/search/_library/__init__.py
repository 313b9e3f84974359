"""What the searchers of other libraries share: spaces in their terms, the way from a suggestion to a result, randomness.

| module | job |
|---|---|
| ``axis`` | one variable, in the terms of a library: a range, a range of integers, or a number of choices |
| ``space`` | a search space of Tune domains as axes, and configurations to and from points on them |
| ``searcher`` | the base class: who is asked and told what, points of the user, failures, state |
| ``randomness`` | a state of their own for libraries that draw from global generators |
| ``quiet`` | libraries that say too much |
"""
