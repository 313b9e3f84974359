"""Results as YAML."""

from __future__ import annotations

import numpy as np
import pytest

from aktis.tune.logger import pretty_print

yaml = pytest.importorskip("yaml")


def test_what_ray_prints() -> None:
    text = pretty_print(
        {
            "a": 1, "b": None, "config": {"x": 1}, "hist_stats": {"x": [1]}, "s": "text: with", "nan": float("nan"), "t": (1, 2),
            "f": True,
            "n": {"x": [1, 2, 3], "y": [1, 2, 3, 4, 5, 6], "z": np.float32(1.5), "e": {}},
        }
    )  # fmt: skip
    assert text == (
        "a: 1\nf: true\nn:\n  e: {}\n  x:\n  - 1\n  - 2\n  - 3\n  y: [1, 2, 3, 4, 5, 6]\n  z: 1.5\nnan: .nan\n"
        "s: 'text: with'\nt:\n- 1\n- 2\n"
    )


def test_it_is_yaml() -> None:
    result = {"a": {"b": [1.5, "x"]}, "odd": "yes", "number": "1e3", "object": object}
    assert yaml.safe_load(pretty_print(result)) == {**result, "object": "<class 'object'>"}
