"""What the brain knows about each operator: a module for each kind."""

from __future__ import annotations

from aktis.data._execution.states._base import OperatorState, OrderedOutput
from aktis.data._execution.states.exchanges import ExchangeState, Phase, RearrangeState
from aktis.data._execution.states.maps import MapState
from aktis.data._execution.states.passing import LimitState, SourceState, UnionState

__all__ = [
    "ExchangeState",
    "LimitState",
    "MapState",
    "OperatorState",
    "OrderedOutput",
    "Phase",
    "RearrangeState",
    "SourceState",
    "UnionState",
]
