"""How a training loop is run on many workers: nothing here is public."""
