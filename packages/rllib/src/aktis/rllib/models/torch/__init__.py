"""Networks and distributions in PyTorch."""
