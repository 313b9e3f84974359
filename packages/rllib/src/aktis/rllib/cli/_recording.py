"""What is kept of an evaluation: episodes in a file, and pictures as a video."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shelve
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.rllib.cli import CommandError

if TYPE_CHECKING:
    from typing_extensions import Self

    from aktis.rllib.cli._evaluate import Episode

__all__ = ["Saver", "Screen", "write_video"]

_FPS = 30


class Saver:
    """Writes episodes.

    A pickle has a list of episodes, each a list of steps: observation, action, next observation, reward, terminated, truncated, and
    the info where it was asked for. A shelf has the same under "0", "1", ..., and how many there are under "num_episodes".

    Args:
        path: The file; None: nothing is kept.
        use_shelve: Write each episode as soon as it is over.
        track_progress: Write a line after each episode into a hidden file beside ``path``; it is removed at the end.
        save_info: Steps have their infos.
        target_steps: How many steps there are to be, for the progress.
        target_episodes: How many episodes there are to be.
    """

    def __init__(
        self,
        path: Path | None,
        use_shelve: bool,
        track_progress: bool,
        save_info: bool,
        target_steps: int,
        target_episodes: int,
    ) -> None:
        self._path = path
        self._use_shelve = use_shelve
        self._save_info = save_info
        self._goal = f"{target_episodes} episodes" if target_episodes else f"{target_steps} steps"
        self._progress = path.with_name(f"__progress_{path.name}") if path is not None and track_progress else None
        self._episodes: list[list[Any]] = []
        self._count = self._steps = 0
        self._shelf: Any = None
        self.told: list[str] = []

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        if not self._path.parent.is_dir():
            raise CommandError(f"--out {self._path}: there is no directory {str(self._path.parent)!r}")
        if self._use_shelve:
            self._shelf = shelve.open(str(self._path), flag="n")
        return self

    def add(self, episode: Episode) -> None:
        """An episode is over."""
        if self._path is None:
            return
        if self._shelf is not None:
            self._shelf[str(self._count)] = episode.steps
            self._shelf["num_episodes"] = self._count + 1
            self._shelf.sync()
        else:
            self._episodes.append(episode.steps)
        self._count += 1
        self._steps += episode.length
        if self._progress is not None:
            _write(self._progress, f"{self._count} episodes, {self._steps} steps of {self._goal}\n".encode())

    def __exit__(self, *_: object) -> None:
        if self._path is None:
            return
        if self._shelf is not None:
            self._shelf["num_episodes"] = self._count
            self._shelf.close()
        else:
            _write(self._path, pickle.dumps(self._episodes, protocol=4))
        if self._progress is not None:
            self._progress.unlink(missing_ok=True)
        self.told.append(f"{self._count} episodes are in {self._path}")


class Screen:
    """Shows an environment: in a window of its own where there is a display, else as a video.

    Args:
        path: The video, .mp4 or .gif; None: only with ``render`` and without a display, ``evaluation.mp4``.
        render: Whether it is to be shown.
    """

    def __init__(self, path: Path | None, render: bool) -> None:
        has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or os.name == "nt"
        if path is not None and path.suffix.lower() not in (".mp4", ".gif"):
            raise CommandError(f"--video {path}: a video ends in .mp4 or .gif")
        self._path = path if path is not None or not render or has_display else Path("evaluation.mp4")
        self.wanted = render or path is not None
        self.mode = "human" if self._path is None else "rgb_array"
        self._frames: list[Any] = []
        self.told: list[str] = []

    def __enter__(self) -> Self:
        if self._path is not None:
            _check_encoder(self._path)
        return self

    def show(self, env: Any) -> None:
        """Take a picture, if there is to be a video."""
        if not self.wanted:
            return
        if getattr(env, "render_mode", self.mode) is None:
            raise CommandError(
                f"{env} has no render_mode: an environment that is made by a class needs render_mode={self.mode!r} in its "
                "constructor (it is given the env_config of --config)"
            )
        frame = env.render()
        if self._path is None:
            return
        if isinstance(frame, list):  # render_mode="rgb_array_list"
            self._frames += frame
        elif frame is not None:
            self._frames.append(frame)
        else:
            raise CommandError(f"{env} returned no picture from render(); it must be made with render_mode='rgb_array'")

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._path is None or kind is not None or not self._frames:
            return
        write_video(self._path, self._frames)
        self.told.append(f"{len(self._frames)} pictures are in {self._path}")


def write_video(path: Path, frames: list[Any], fps: int = _FPS) -> None:
    """Write pictures, each [height, width, 3] of bytes, as .mp4 or .gif."""
    import numpy as np

    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    height, width = (side - side % 2 for side in np.shape(frames[0])[:2])  # codecs want even sides
    try:
        if path.suffix.lower() == ".gif":
            from PIL import Image

            pictures = [Image.fromarray(np.asarray(frame, np.uint8)) for frame in frames[::2]]  # 15 a second are enough
            pictures[0].save(
                temporary, save_all=True, append_images=pictures[1:], duration=2000 // fps, loop=0, format="GIF"
            )
        else:
            import imageio.v2 as imageio

            writer: Any = imageio.get_writer(temporary, fps=fps, format="FFMPEG", macro_block_size=2)
            with writer:
                for frame in frames:
                    writer.append_data(np.asarray(frame, np.uint8)[:height, :width])
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_encoder(path: Path) -> None:
    for name in ("PIL",) if path.suffix.lower() == ".gif" else ("imageio", "imageio_ffmpeg"):
        if importlib.util.find_spec(name) is None:
            raise CommandError(f'a video needs {name}: pip install "aktis-rllib[video]"')


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
