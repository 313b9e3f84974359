"""A searcher of one's own: the cross-entropy method in thirty lines, as good as any that the library brings along.

``suggest`` gives the configuration of the next trial, ``on_trial_complete`` learns from how it did; ``save`` and ``restore`` let a
run go on. This one draws around the mean of the best trials so far, and narrows down as they agree. On Branin's
function it is compared with the same number of trials drawn by chance.

Run: python examples/tune_custom_searcher.py
Needs: pip install aktis-tune numpy
Prints: what both ways found, and how far that is from the minimum.
"""

from __future__ import annotations

import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from aktis import air, tune
from aktis.air import session
from aktis.tune.search import ConcurrencyLimiter, Searcher

TRIALS, ELITE, MINIMUM = 60, 5, 0.397887
SPACE = {"x": tune.uniform(-5, 10), "y": tune.uniform(0, 15)}


class CrossEntropySearch(Searcher):
    def __init__(self, metric: str | None = None, mode: str | None = None, *, start: int = 10, seed: int = 0) -> None:
        super().__init__(metric=metric, mode=mode)
        self.start, self.rng = start, np.random.default_rng(seed)
        self.bounds: dict[str, tuple[float, float]] = {}
        self.live: dict[str, dict[str, float]] = {}
        self.seen: list[tuple[float, dict[str, float]]] = []

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **_: Any) -> bool:
        """The space of the run: floats between two bounds. True says that it was taken."""
        self._metric, self._mode = metric or self._metric, mode or self._mode
        self.bounds = {name: (domain.lower, domain.upper) for name, domain in config.items()}
        return True

    def suggest(self, trial_id: str) -> dict[str, float]:
        best = [point for _, point in sorted(self.seen, key=lambda pair: pair[0])[:ELITE]]
        point = {}
        for name, (low, high) in self.bounds.items():
            if len(self.seen) < self.start:
                value = self.rng.uniform(low, high)
            else:
                values = [one[name] for one in best]
                value = self.rng.normal(np.mean(values), np.std(values) + 0.01 * (high - low))
            point[name] = float(np.clip(value, low, high))
        self.live[trial_id] = point
        return point

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        point = self.live.pop(trial_id)
        if result is not None and not error:
            sign = 1 if self._mode == "min" else -1
            self.seen.append((sign * result[self._metric], point))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(pickle.dumps(self.__dict__))

    def restore(self, checkpoint_path: str) -> None:
        self.__dict__.update(pickle.loads(Path(checkpoint_path).read_bytes()))


def branin(config: dict[str, float]) -> None:
    x, y = config["x"], config["y"]
    valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    session.report({"loss": valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10})


def search(searcher: Any, results_dir: str, name: str) -> float:
    tuner = tune.Tuner(
        branin,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=TRIALS, search_alg=searcher, reuse_actors=True
        ),
        run_config=air.RunConfig(name=name, local_dir=results_dir, verbose=0),
    )
    results = tuner.fit()
    assert len(results) == TRIALS and results.num_errors == 0
    best = results.get_best_result()
    print(
        f"{name}: {best.metrics['loss']:.4f} at {best.config}; {best.metrics['loss'] - MINIMUM:.4f} above the minimum"
    )
    return float(best.metrics["loss"])


def main() -> None:
    ours = CrossEntropySearch()
    with tempfile.TemporaryDirectory() as results_dir:
        by_chance = search(tune.create_searcher("random", random_state=0), results_dir, "by chance")
        found = search(ConcurrencyLimiter(ours, max_concurrent=2), results_dir, "cross-entropy")
        ours.save(f"{results_dir}/state")
        again = CrossEntropySearch()
        again.restore(f"{results_dir}/state")
    assert again.suggest("next") == ours.suggest("next")
    assert len(ours.seen) == TRIALS and MINIMUM <= found < by_chance


if __name__ == "__main__":
    main()
