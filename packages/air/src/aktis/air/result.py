"""What came of a run: the last metrics, checkpoints, the error, and where its files are."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import AirError, CheckpointError

if TYPE_CHECKING:
    import pandas

    from aktis.air.checkpoint import Checkpoint
    from aktis.air.html import Part

__all__ = ["Result"]

logger = logging.getLogger(__name__)

_CHECKPOINT_DIR = re.compile(r"^checkpoint_(?:.*?)(\d+)$")


class Result:
    """The outcome of one trial or training run.

    Args:
        metrics: The last metrics that were reported; ``config`` is among them.
        checkpoint: The latest checkpoint.
        error: What ended it; None when it ended well.
        log_dir: Its directory.
        metrics_dataframe: All results, a row each; or a function that loads them, which is called when they are asked for.
        best_checkpoints: The checkpoints that were kept with their metrics, the best last; or a function that gives them.
    """

    def __init__(
        self,
        metrics: dict[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        error: BaseException | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        metrics_dataframe: pandas.DataFrame | Callable[[], pandas.DataFrame | None] | None = None,
        best_checkpoints: Sequence[tuple[Checkpoint, dict[str, Any]]]
        | Callable[[], Sequence[tuple[Checkpoint, dict[str, Any]]]]
        | None = None,
    ) -> None:
        self.metrics = metrics
        self.checkpoint = checkpoint
        self.error = error
        self.log_dir = None if log_dir is None else Path(log_dir)
        self._dataframe = metrics_dataframe
        self._best = best_checkpoints

    @property
    def metrics_dataframe(self) -> pandas.DataFrame | None:
        """All results as a table; nested names are joined with "/"."""
        if callable(self._dataframe):
            self._dataframe = self._dataframe()
        return self._dataframe

    @property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """The checkpoints that were kept with their metrics, the best last."""
        if callable(self._best):
            self._best = list(self._best())
        return list(self._best or ())

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration of the run."""
        return None if self.metrics is None else self.metrics.get("config")

    @property
    def path(self) -> str | None:
        """Its directory, as a string."""
        return None if self.log_dir is None else str(self.log_dir)

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """The kept checkpoint with the best ``metric``; None when there is no checkpoint.

        Raises:
            ValueError: ``mode`` is neither "max" nor "min", or no checkpoint has that metric.
        """
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', not {mode!r}")
        pairs = self.best_checkpoints
        if not pairs:
            return None
        sign = 1 if mode == "max" else -1
        scored = [
            (sign * float(metrics[metric]), index) for index, (_, metrics) in enumerate(pairs) if metric in metrics
        ]
        if not scored:
            known = ", ".join(sorted(pairs[-1][1])) or "none"
            raise ValueError(f"no checkpoint was reported with the metric {metric!r}; there are: {known}")
        scored.sort(key=lambda entry: (not math.isnan(entry[0]), entry))
        return pairs[scored[-1][1]][0]

    def report_html(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write a page about this run, and return the file: one HTML file that loads nothing.

        Args:
            path: The file; None: ``report.html`` in the run's directory.

        Raises:
            ValueError: it has no directory, or nothing that is installed makes a page of one like it.
            OSError: the file cannot be written.
        """
        from aktis.air.reports import write_page

        return write_page(lambda part, _: self.add_to_page(part), self.log_dir or "", path)

    def add_to_page(self, part: Part) -> None:
        """Add what there is to say about this run to a page: ``page.add("Training", result)``; see :mod:`aktis.air.html`.

        Raises:
            ValueError: it has no directory, or nothing that is installed says anything about one like it.
        """
        from aktis.air.reports import find_reporter

        if self.log_dir is None:
            raise ValueError("this result has no directory, so there is nothing to make a page of")
        reporter = find_reporter(self.log_dir)
        if reporter is None:
            raise ValueError(
                f"nothing that is installed makes a page of {self.log_dir}: there are pages of training runs (aktis-train), and, "
                "with `tune report DIRECTORY`, of experiments"
            )
        reporter(part, self.log_dir)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Result:
        """The result of a trial, from its directory alone.

        Raises:
            FileNotFoundError: there is no such directory.
            ValueError: it is none of a trial: it has neither results nor parameters.
        """
        directory = Path(path).expanduser().absolute()
        if not directory.is_dir():
            raise FileNotFoundError(f"there is no directory {directory}")
        if not any((directory / name).exists() for name in ("result.json", "params.json", "progress.csv", "error.txt")):
            raise ValueError(
                f"{directory} is not the directory of a trial: it has no result.json, progress.csv or params.json"
            )
        rows = _read_rows(directory)
        metrics = dict(rows[-1]) if rows else {}
        if "config" not in metrics:
            metrics["config"] = _read_json(directory / "params.json") or {}
        kept = _read_checkpoints(directory, rows)
        return cls(
            metrics=metrics,
            checkpoint=kept[-1][0] if kept else None,
            error=_read_error(directory),
            log_dir=directory,
            metrics_dataframe=functools.partial(_read_dataframe, directory),
            best_checkpoints=kept,
        )

    def __repr__(self) -> str:
        shown: dict[str, Any] = {}
        if self.error is not None:
            shown["error"] = f"{type(self.error).__name__}: {self.error}".partition("\n")[0]
        if self.metrics is not None:
            shown["metrics"] = {name: value for name, value in self.metrics.items() if name != "config"}
        shown["path"] = self.path
        if self.checkpoint is not None:
            shown["checkpoint"] = self.checkpoint
        return f"Result({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


# -- a trial's directory -------------------------------------------------------------------------------------------------


def _read_rows(directory: Path) -> list[dict[str, Any]]:
    """The lines of result.json; the last one may be torn, when the run was killed."""
    path = directory / "result.json"
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                if line.endswith("\n"):
                    logger.warning("%s, line %d is no JSON and is left out", path, number)
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _read_dataframe(directory: Path) -> pandas.DataFrame | None:
    try:
        import pandas
    except ImportError as error:
        raise ModuleNotFoundError('Result.metrics_dataframe needs pandas: pip install "aktis-air[pandas]"') from error
    rows = _read_rows(directory)
    if rows:
        return pandas.json_normalize(rows, sep="/")
    path = directory / "progress.csv"
    return pandas.read_csv(path) if path.exists() and path.stat().st_size else None


def _read_error(directory: Path) -> BaseException | None:
    pickled, text = directory / "error.pkl", directory / "error.txt"
    if pickled.exists():
        import pickle

        try:
            error = pickle.loads(pickled.read_bytes())
        except Exception as failure:  # its class may not be here; the text is all the same
            logger.warning("%s cannot be loaded here: %s", pickled, failure)
        else:
            if isinstance(error, BaseException):
                return error
    return AirError(text.read_text(encoding="utf-8", errors="replace")) if text.exists() else None


def _read_checkpoints(directory: Path, rows: list[dict[str, Any]]) -> list[tuple[Checkpoint, dict[str, Any]]]:
    """The checkpoints in the directory, oldest first, with the results that they belong to."""
    from aktis.air.checkpoint import Checkpoint

    by_name = {row["checkpoint_dir_name"]: row for row in rows if row.get("checkpoint_dir_name")}
    by_iteration = {row.get("training_iteration"): row for row in rows}
    found = []
    for name in os.listdir(directory):
        match = _CHECKPOINT_DIR.match(name)
        if match is not None and (directory / name).is_dir():
            found.append((int(match[1]), name))
    kept = []
    for number, name in sorted(found):
        try:
            checkpoint = Checkpoint.from_directory(directory / name)
        except CheckpointError as error:
            logger.warning("%s is left out: %s", directory / name, error)
            continue
        iteration = _iteration_of(directory / name)  # numbers of directories count checkpoints, not results
        kept.append(
            (checkpoint, by_name.get(name) or by_iteration.get(number if iteration is None else iteration) or {})
        )
    return kept


def _iteration_of(checkpoint: Path) -> int | None:
    """The number of the result that a checkpoint was reported with, where Tune has noted it."""
    noted = _read_json(checkpoint / ".tune_metadata.json")
    iteration = noted.get("iteration") if isinstance(noted, dict) else None
    return iteration if isinstance(iteration, int) else None
