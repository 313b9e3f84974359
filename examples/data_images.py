"""Image files through a model that is loaded once per worker, and the results into Parquet files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import aktis.data

IMAGES = 40


def make_images(folder: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = rng.integers(0, 90, (32 + i % 3, 32, 3), dtype=np.uint8)
        pixels[..., i % 3] += 120  # reddish, greenish or bluish
        Image.fromarray(pixels).save(folder / f"{i:03}.png")


class Classifier:
    """Set up once per worker; called with batches, as a neural network would be."""

    def __init__(self) -> None:
        self.names = np.array(["red", "green", "blue"])

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        brightness = batch["image"].mean(axis=(1, 2))
        return {"path": batch["path"], "colour": self.names[brightness.argmax(axis=1)]}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "images")
        folder.mkdir()
        make_images(folder)
        images = aktis.data.read_images(str(folder), size=(32, 32), mode="RGB", include_paths=True)
        found = images.map_batches(Classifier, batch_format="numpy", batch_size=16, concurrency=2)
        found.write_parquet(f"{name}/colours")

        colours = aktis.data.read_parquet(f"{name}/colours")
        print(colours.groupby("colour").count().take_all())
        assert colours.count() == IMAGES
        for row in colours.iter_rows():
            assert row["colour"] == ["red", "green", "blue"][int(Path(row["path"]).stem) % 3]


if __name__ == "__main__":
    main()
