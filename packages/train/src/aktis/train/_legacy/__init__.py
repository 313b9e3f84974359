"""Parts of the older ``Trainer``: where its runs go, which checkpoints it keeps, what its workers get."""
