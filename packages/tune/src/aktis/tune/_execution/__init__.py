"""How an experiment runs: a brain that decides, a journal that remembers, a loop that acts."""
