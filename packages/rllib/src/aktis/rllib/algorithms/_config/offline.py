"""Section offline_data()."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OfflineSection"]


class OfflineSection(ConfigBase):
    """Experience from files, and to files."""

    def __init__(self) -> None:
        super().__init__()
        self.input_: Any = "sampler"
        self.input_config: dict[str, Any] = {}
        self.actions_in_input_normalized: bool = False
        self.postprocess_inputs: bool = False
        self.shuffle_buffer_size: int = 0
        self.output: Any = None
        self.output_config: dict[str, Any] = {}
        self.output_compress_columns: list[str] = ["obs", "new_obs"]
        self.output_max_file_size: int = 64 * 1024 * 1024
        self.offline_sampling: bool = False

    @section
    def offline_data(
        self,
        *,
        input_: Any = NotProvided,
        input_config: Mapping[str, Any] = NotProvided,
        actions_in_input_normalized: bool = NotProvided,
        input_evaluation: Any = NotProvided,
        postprocess_inputs: bool = NotProvided,
        shuffle_buffer_size: int = NotProvided,
        output: Any = NotProvided,
        output_config: Mapping[str, Any] = NotProvided,
        output_compress_columns: Sequence[str] = NotProvided,
        output_max_file_size: int = NotProvided,
        offline_sampling: bool = NotProvided,
    ) -> Self:
        """Experience from files, and to files.

        Args:
            input_: "sampler": the environment; a path, a pattern or a list of files; "dataset" (``input_config`` says
                which); a dict of those to the share that each has (``{"sampler": 0.4, "/data/*.json": 0.6}``);
                ``f(io_context)`` that returns an ``InputReader``; or a name of ``register_input``.
            input_config: Arguments of the reader: ``paths``, ``format``, ...
            actions_in_input_normalized: The actions in the files are in [-1, 1] already.
            input_evaluation: No more: see ``off_policy_estimation_methods`` of :meth:`evaluation`.
            postprocess_inputs: Let the policy post-process what is read, as it does with what is sampled.
            shuffle_buffer_size: Batches among which is shuffled; 0: in order.
            output: None; "logdir": the directory of the algorithm; a directory; "dataset"; or ``f(io_context)`` that returns an
                ``OutputWriter``.
            output_config: Arguments of the writer.
            output_compress_columns: Columns that are compressed.
            output_max_file_size: Bytes after which the next file begins.
            offline_sampling: The experience is that of files, and workers that read it may be asked in any order.
        """
        if isinstance(output_compress_columns, Sequence) and not isinstance(output_compress_columns, str):
            output_compress_columns = list(output_compress_columns)
        return self._update(
            input_=input_,
            input_config=input_config,
            actions_in_input_normalized=actions_in_input_normalized,
            postprocess_inputs=postprocess_inputs,
            shuffle_buffer_size=shuffle_buffer_size,
            output=output,
            output_config=output_config,
            output_compress_columns=output_compress_columns,
            output_max_file_size=output_max_file_size,
            offline_sampling=offline_sampling,
        )

    def _validate_offline(self) -> None:
        if isinstance(self.input_, Mapping):
            if not self.input_:
                raise ValueError(
                    "input_ is an empty dict: give a share for each source, as in {'sampler': 0.5, '/data/*.json': 0.5}"
                )
            total = sum(self.input_.values())
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the shares of input_ must sum up to 1, not to {total:g}: {self.input_!r}")
        if self.input_ == "dataset" and not self.input_config:
            raise ValueError("input_='dataset' needs input_config={'format': 'json' or 'parquet', 'paths': ...}")
        if self.shuffle_buffer_size < 0:
            raise ValueError(f"shuffle_buffer_size must not be negative, it is {self.shuffle_buffer_size}")
