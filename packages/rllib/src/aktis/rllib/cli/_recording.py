"""What is kept of an evaluation: episodes in a file, and pictures as a video."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shelve
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.rllib.cli import CommandError
from aktis.util.files import write_whole

if TYPE_CHECKING:
    from typing_extensions import Self

    from aktis.rllib.cli._evaluate import Episode

__all__ = ["Saver", "Screen", "Video", "counted"]

_FPS = 30


class Saver:
    """Writes episodes.

    A pickle has a list of episodes, each a list of steps: observation, action, next observation, reward, terminated, truncated, and
    the info where it was asked for. A shelf has the same under "0", "1", ..., and how many there are under "num_episodes".

    Args:
        path: The file; None: nothing is kept.
        use_shelve: Write each episode as soon as it is over.
        track_progress: Write a line after each episode into a hidden file beside ``path``; it is removed at the end.
        target_steps: How many steps there are to be, for the progress.
        target_episodes: How many episodes there are to be.
    """

    def __init__(
        self,
        path: Path | None,
        use_shelve: bool,
        track_progress: bool,
        target_steps: int,
        target_episodes: int,
    ) -> None:
        self._path = path
        self._use_shelve = use_shelve
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
            write_whole(
                self._progress,
                f"{counted(self._count, 'episode')}, {counted(self._steps, 'step')} of {self._goal}\n",
            )

    def __exit__(self, *_: object) -> None:
        if self._path is None:
            return
        if self._shelf is not None:
            self._shelf["num_episodes"] = self._count
            self._shelf.close()
        else:
            write_whole(self._path, pickle.dumps(self._episodes, protocol=4))
        if self._progress is not None:
            self._progress.unlink(missing_ok=True)
        self.told.append(f"{counted(self._count, 'episode')} in {self._path}")


class Screen:
    """Shows an environment: in a window of its own where there is a display, else as a video.

    Args:
        path: The video, .mp4 or .gif; None: only with ``render`` and without a display, ``evaluation.mp4``.
        render: Whether it is to be shown.
    """

    def __init__(self, path: Path | None, render: bool) -> None:
        self._has_display = has_display = (
            bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or os.name == "nt"
        )
        if path is not None and path.suffix.lower() not in (".mp4", ".gif"):
            raise CommandError(f"--video {path}: a video ends in .mp4 or .gif")
        self._path = path if path is not None or not render or has_display else Path("evaluation.mp4")
        self.wanted = render or path is not None
        self.mode = "human" if self._path is None else "rgb_array"
        self._video = Video(self._path) if self._path is not None else None
        self.told: list[str] = []

    def __enter__(self) -> Self:
        if self._path is not None:
            _check_encoder(self._path)
            if not self._has_display:
                os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # or pygame says that it looked for a display
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
        if self._video is None:
            return
        if frame is None:
            raise CommandError(f"{env} returned no picture from render(); it must be made with render_mode='rgb_array'")
        for picture in frame if isinstance(frame, list) else [frame]:  # a list: render_mode="rgb_array_list"
            self._video.add(picture)

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._video is None:
            return
        if kind is not None or not self._video.count:
            self._video.discard()
            return
        self._video.finish()
        self.told.append(f"{counted(self._video.count, 'picture')} in {self._path}")


class Video:
    """A video that grows by a picture at a time: pictures are not kept, a long one would not fit the memory.

    Args:
        path: The file, .mp4 or .gif; it is there when the video is finished.
        fps: Pictures per second.
    """

    def __init__(self, path: Path, fps: int = _FPS) -> None:
        self._path = path
        self._fps = fps
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        self._is_gif = path.suffix.lower() == ".gif"
        self._packed: list[tuple[bytes, tuple[int, ...]]] = []  # of a .gif, which is written in one go
        self._writer: Any = None
        self.count = 0

    def add(self, frame: Any) -> None:
        """Add a picture, [height, width, 3] of bytes."""
        import numpy as np

        picture = np.ascontiguousarray(frame, np.uint8)
        if self._is_gif:
            if self.count % 2 == 0:  # 15 a second are enough
                self._packed.append((zlib.compress(picture.tobytes(), 1), picture.shape))
        else:
            if self._writer is None:
                import imageio.v2 as imageio

                self._writer = imageio.get_writer(
                    self._temporary, fps=self._fps, format="FFMPEG", macro_block_size=2
                )  # fmt: skip
            height, width = (side - side % 2 for side in picture.shape[:2])  # codecs want even sides
            self._writer.append_data(picture[:height, :width])
        self.count += 1

    def finish(self) -> None:
        """Write what is left, and put the file where it was to be."""
        if self._writer is not None:
            self._writer.close()
        elif self._packed:
            pictures = map(_unpacked, self._packed)
            next(pictures).save(
                self._temporary, save_all=True, append_images=pictures, duration=2000 // self._fps, loop=0, format="GIF"
            )
        os.replace(self._temporary, self._path)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.close()
        self._temporary.unlink(missing_ok=True)


def _unpacked(packed: tuple[bytes, tuple[int, ...]]) -> Any:
    import numpy as np
    from PIL import Image

    data, shape = packed
    return Image.fromarray(np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape))


def counted(number: int, thing: str) -> str:
    """``1 episode``, ``2 episodes``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _check_encoder(path: Path) -> None:
    for name in ("PIL",) if path.suffix.lower() == ".gif" else ("imageio", "imageio_ffmpeg"):
        if importlib.util.find_spec(name) is None:
            raise CommandError(f'a video needs {name}: pip install "aktis-rllib[video]"')
