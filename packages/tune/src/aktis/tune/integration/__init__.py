"""Training libraries and trackers, inside of the user's function. Each is a module of its own."""
