"""Random spaces, nested ones among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.simplex import Simplex

shapes = st.lists(st.integers(1, 3), min_size=0, max_size=2).map(tuple)

leaves = st.one_of(
    shapes.map(lambda shape: spaces.Box(-2.0, 3.0, shape)),
    shapes.map(lambda shape: spaces.Box(-3, 4, shape, np.int64)),
    shapes.map(lambda shape: spaces.Box(0, 255, shape, np.uint8)),
    st.tuples(st.integers(1, 5), st.integers(-2, 2)).map(lambda ns: spaces.Discrete(ns[0], start=ns[1])),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(spaces.MultiDiscrete),
    st.integers(1, 3).map(spaces.MultiBinary),
    st.integers(2, 3).map(lambda n: Simplex((n,))),
)


def nested(children: Any) -> Any:
    return st.one_of(
        st.dictionaries(st.sampled_from("abcd"), children, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(children, min_size=1, max_size=3).map(spaces.Tuple),
    )


action_spaces = st.recursive(leaves, nested, max_leaves=5)


def with_repeated(children: Any) -> Any:
    return st.one_of(nested(children), st.tuples(children, st.integers(1, 3)).map(lambda cn: Repeated(*cn)))


observation_spaces = st.recursive(leaves, with_repeated, max_leaves=5)
