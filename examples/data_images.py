"""An image pipeline: files are read, resized and augmented on the way to a model, which then predicts in workers.

The images are scikit-learn's handwritten digits as PNG files, in a folder for each digit; few of them are for training. The model
looks for the nearest training image, and gets each of these shifted by a pixel, too. Predictions go straight into Parquet files.

Run: python examples/data_images.py
Needs: pip install "aktis-data[images]" scikit-learn
Prints: accuracy with and without augmentation, and that a plain loop over the same files predicts the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import aktis.data

IMAGES, SIZE = 500, (16, 16)
Batch = dict[str, Any]


def make_images(folder: Path) -> None:
    pixels, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(pixels[:IMAGES], labels)):
        path = folder / ("test" if number % 6 else "train") / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 15.9).astype(np.uint8)).save(path)


def read(folder: Path) -> aktis.data.Dataset:
    """Images with values from 0 to 1, and the digit that each folder's name says."""
    images = aktis.data.read_images(str(folder), size=SIZE, mode="L", include_paths=True)
    return images.map_batches(prepare, batch_format="numpy")


def prepare(batch: Batch) -> Batch:
    digits = np.array([int(Path(path).parent.name) for path in batch["path"]])
    return {"image": batch["image"].astype(np.float32) / 255, "digit": digits, "path": batch["path"]}


def augment(batch: Batch) -> Batch:
    """Each image as it is, and shifted by a pixel to four sides."""
    shifts = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
    images = np.concatenate([np.roll(batch["image"], shift, axis=(1, 2)) for shift in shifts])
    return {"image": images, "digit": np.tile(batch["digit"], len(shifts))}


def collect(images: aktis.data.Dataset) -> Batch:
    """All images, from a stream of batches."""
    batches = list(images.iter_batches(batch_size=256, batch_format="numpy"))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in ("image", "digit")}


class Classifier:
    """Set up once per worker; called with batches, as a neural network would be."""

    def __init__(self, known: Batch) -> None:
        self.known = known

    def __call__(self, batch: Batch) -> Batch:
        distances = ((batch["image"][:, None] - self.known["image"]) ** 2).sum(axis=(2, 3))
        nearest = distances.argmin(axis=1)
        return {"path": batch["path"], "digit": batch["digit"], "read_as": self.known["digit"][nearest]}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder)
        train, test = read(folder / "train"), read(folder / "test")
        plainly, augmented = collect(train), collect(train.map_batches(augment, batch_format="numpy"))

        predictions = test.map_batches(
            Classifier, fn_constructor_args=(augmented,), batch_format="numpy", batch_size=64, concurrency=2
        )
        predictions.write_parquet(str(folder / "predictions"))
        found = aktis.data.read_parquet(str(folder / "predictions")).to_pandas().sort_values("path")

        files = sorted((folder / "test").rglob("*.png"))
        pixels = np.stack(
            [np.asarray(Image.open(path).convert("L").resize(SIZE, Image.Resampling.BILINEAR)) for path in files]
        )
        batch = prepare({"image": pixels, "path": np.array([str(path) for path in files])})
    in_a_loop = Classifier(augmented)(batch)
    without = float((Classifier(plainly)(batch)["read_as"] == batch["digit"]).mean())
    accuracy = float((found["read_as"] == found["digit"]).mean())
    print(f"{len(found)} new digits: {accuracy:.1%} right, {without:.1%} without augmentation")
    same = np.array_equal(found["read_as"], in_a_loop["read_as"])
    print("a plain loop predicts", "the same" if same else "something else")
    assert same and len(found) == len(files) and accuracy > max(0.85, without)


if __name__ == "__main__":
    main()
