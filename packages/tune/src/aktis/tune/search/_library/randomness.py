"""A state of their own for libraries that draw from the global generators of Python, numpy and torch."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

__all__ = ["PrivateRandom"]


class PrivateRandom:
    """``with PrivateRandom(seed):`` lends the global generators the state of this object, and gives theirs back.

    So a seed makes a search reproducible whatever else draws, the search disturbs nobody, and the state can be pickled.
    Other threads that draw from the global generators meanwhile share the state.
    """

    def __init__(self, seed: int | None = None, torch: bool = False) -> None:
        import numpy as np

        source = random.Random(seed)
        self._python: Any = source.getstate()
        self._numpy: Any = np.random.RandomState(source.getrandbits(32)).get_state()
        self._with_torch = torch
        self._torch: Any = source.getrandbits(32)  # a seed, until torch gave a state
        self._outer: list[tuple[Any, Any, Any]] = []

    def __enter__(self) -> None:
        import numpy as np

        torch = self._load_torch()
        torch_state = torch.get_rng_state() if torch is not None else None
        self._outer.append((random.getstate(), np.random.get_state(), torch_state))
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        if torch is not None:
            if isinstance(self._torch, int):
                torch.manual_seed(self._torch)
            else:
                torch.set_rng_state(torch.frombuffer(bytearray(self._torch), dtype=torch.uint8))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import numpy as np

        python_state, numpy_state, torch_state = self._outer.pop()
        self._python, self._numpy = random.getstate(), np.random.get_state()
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch = self._load_torch()
        if torch is not None:
            self._torch = bytes(torch.get_rng_state().numpy())
            torch.set_rng_state(torch_state)

    def _load_torch(self) -> Any:
        if not self._with_torch:
            return None
        import torch

        return torch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_outer": []}
