"""Connectors: what happens to observations before a policy sees them, and to actions before an environment does.

Samplers do the same for whole batches at a time; connectors do it for one agent, step by step: for policies that are
used outside of
training (:func:`aktis.rllib.utils.policy.local_policy_inference`), and for users who want other steps in between.
"""
