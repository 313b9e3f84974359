"""The node daemon and its zygotes: shells around the state machines in ``aktis._brain``."""
