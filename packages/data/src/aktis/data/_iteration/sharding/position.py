"""Where in the data a training run is: what ``state_dict`` of a shard says. Pure, and JSON from end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aktis.data._iteration.sharding.dealing import Taken

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalShuffle:
    """How rows of a part were shuffled in a buffer: needed to find those that are left."""

    buffer: int
    batch: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """An epoch, and what was used of it: by each group of workers that went on where the one before was interrupted."""

    epoch: int = 0
    seed: int = 0
    taken: tuple[Taken, ...] = ()
    shuffle: LocalShuffle | None = None  # of the last one of ``taken``
    layout: int | None = None  # tells whether blocks are the same ones, where their order matters

    def to_json(self) -> dict[str, Any]:
        shuffle = self.shuffle
        return {
            "version": VERSION,
            "epoch": self.epoch,
            "seed": self.seed,
            "taken": [[taken.workers, taken.chunk, taken.rows] for taken in self.taken],
            "shuffle": None if shuffle is None else [shuffle.buffer, shuffle.batch, shuffle.seed],
            "layout": self.layout,
        }

    @classmethod
    def from_json(cls, state: Any) -> Position:
        """
        Raises:
            TypeError, ValueError: this is nothing that ``to_json`` has given.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"the state must be what state_dict() gave, not {state!r}")
        if state.get("version") != VERSION:
            raise ValueError(f"the state must be what state_dict() of this version gave, not {dict(state)!r}")
        try:
            taken = tuple(Taken(*map(int, entry)) for entry in state["taken"])
            shuffle = None
            if state["shuffle"] is not None:
                buffer, batch, seed = map(int, state["shuffle"])
                shuffle = LocalShuffle(buffer=buffer, batch=batch, seed=seed)
            epoch, own, layout = int(state["epoch"]), int(state["seed"]), state["layout"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the state is damaged ({error!r}): {dict(state)!r}") from error
        if epoch < 0 or any(entry.workers < 1 or entry.chunk < 1 or entry.rows < 0 for entry in taken):
            raise ValueError(f"the state is damaged (numbers out of range): {dict(state)!r}")
        return cls(epoch=epoch, seed=own, taken=taken, shuffle=shuffle, layout=layout)

    def start_for(self, workers: int) -> Start:
        """How so many workers go on from here. As many as before keep their parts; else the rest is dealt anew."""
        last = self.taken[-1] if self.taken else None
        if last is None or last.workers != workers:
            if self.shuffle is not None and last is not None:
                raise ValueError(
                    f"the epoch was interrupted with local_shuffle_buffer_size={self.shuffle.buffer} and {last.workers} workers; "
                    f"{workers} workers cannot tell which rows are left of it. Go on with as many workers, begin the next epoch "
                    "(set_epoch), or shuffle with DatasetConfig(global_shuffle=True), which can be dealt anew"
                )
            return Start(epoch=self.epoch, seed=self.seed, before=self.taken, layout=self.layout)
        return Start(
            epoch=self.epoch,
            seed=self.seed,
            before=self.taken[:-1],
            chunk=last.chunk,
            skip=last.rows,
            layout=self.layout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a pass begins: the same for all workers."""

    epoch: int
    seed: int
    before: tuple[Taken, ...] = ()
    chunk: int | None = None  # rows that are dealt at a time; None: whatever suits
    skip: int = 0  # rows of each part that were used already
    layout: int | None = None

    def check_layout(self, found: int | None) -> None:
        """
        Raises:
            ValueError: the order that was drawn for this epoch cannot be drawn again.
        """
        if (self.before or self.skip) and None not in (self.layout, found) and self.layout != found:
            raise ValueError(
                "the data is cut into other blocks than when the epoch was interrupted (the files, the preprocessing or the "
                "settings have changed), so that it is not known which rows are left of it: begin the next epoch with "
                f"set_epoch({self.epoch + 1}), or use DatasetConfig(randomize_block_order=False), with which only the order of "
                "rows matters"
            )

    def __str__(self) -> str:
        used = [f"{taken.rows} rows used by each of {taken.workers}" for taken in self.before]
        used += [f"{self.skip} rows used by each"] if self.skip else []
        return f"epoch {self.epoch} (seed {self.seed}{''.join(', ' + text for text in used)})"
