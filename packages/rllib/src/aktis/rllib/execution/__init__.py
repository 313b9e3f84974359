"""Plans of execution: how samples are gathered and learned from."""
