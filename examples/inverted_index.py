"""Tasks, an actor and a shared array: an inverted index and a word count over the source of Python's own standard library.

Map tasks tokenise documents out of one shared array, reduce tasks merge what they found, an actor counts progress,
and the same job runs sequentially beside it, so that both the answers and the timings can be compared.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import sysconfig
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import aktis

Postings = dict[str, tuple[int, list[int]]]
"""Word -> (how often it occurs, numbers of the documents that contain it, ascending)."""

WORD = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")  # splits snake_case and CamelCase: "readFile_now" is read, file, now
PARTITIONS = 4


# ---- the job itself: plain Python, used by both runs


def index_documents(corpus: np.ndarray, offsets: Sequence[int], first: int) -> list[Postings]:
    """Tokenise consecutive documents; document ``first + i`` is ``corpus[offsets[i]:offsets[i + 1]]``.

    Words are dealt to partitions by a stable hash, so that every reducer sees all of "its" words.
    """
    counts: Counter[bytes] = Counter()
    documents: dict[bytes, list[int]] = {}
    for number, (start, end) in enumerate(zip(offsets, offsets[1:], strict=False), first):
        in_document = Counter(map(bytes.lower, WORD.findall(corpus[start:end])))
        counts.update(in_document)
        for word in in_document:
            documents.setdefault(word, []).append(number)
    partitions: list[Postings] = [{} for _ in range(PARTITIONS)]
    for word, count in counts.items():
        partitions[zlib.crc32(word) % PARTITIONS][word.decode()] = (count, documents[word])
    return partitions


def merge(parts: Iterable[Postings]) -> Postings:
    """Add the parts up. They come in the order of their documents, so the numbers stay ascending."""
    merged: Postings = {}
    for part in parts:
        for word, (count, documents) in part.items():
            if word in merged:
                before, known = merged[word]
                merged[word] = (before + count, known + documents)
            else:
                merged[word] = (count, documents)
    return merged


# ---- the same job on aktis


@aktis.remote(num_cpus=0)
class Progress:
    """Counts what the map tasks have finished. An actor: one process of its own, one call at a time."""

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0

    def add(self, documents: int, size: int) -> None:
        self.documents += documents
        self.bytes += size

    def snapshot(self) -> tuple[int, int]:
        return self.documents, self.bytes


@aktis.remote(num_returns=PARTITIONS)
def map_task(corpus: np.ndarray, offsets: Sequence[int], first: int, progress: Any) -> list[Postings]:
    # `corpus` is a view of shared memory: no task copies the text, however many there are.
    result = index_documents(corpus, offsets, first)
    progress.add.remote(len(offsets) - 1, offsets[-1] - offsets[0])
    return result


@aktis.remote
def reduce_task(*parts: Postings) -> Postings:
    return merge(parts)


def run_parallel(corpus: np.ndarray, chunks: list[tuple[int, list[int]]], display: Display) -> Postings:
    shared = aktis.put(corpus)
    progress = Progress.remote()
    mapped = [map_task.remote(shared, offsets, first, progress) for first, offsets in chunks]
    # Reducers take references as arguments: each starts as soon as its inputs exist, and nothing passes through here.
    reduced = [reduce_task.remote(*parts) for parts in zip(*mapped, strict=True)]
    pending = reduced
    while pending:
        _, pending = aktis.wait(pending, num_returns=len(pending), timeout=0.1)
        display.show(*aktis.get(progress.snapshot.remote()))
    return merge(aktis.get(reduced))


def run_sequential(corpus: np.ndarray, chunks: list[tuple[int, list[int]]], display: Display) -> Postings:
    mapped, documents, size = [], 0, 0
    for first, offsets in chunks:
        mapped.append(index_documents(corpus, offsets, first))
        documents, size = documents + len(offsets) - 1, size + offsets[-1] - offsets[0]
        display.show(documents, size)
    return merge(merge(parts) for parts in zip(*mapped, strict=True))


# ---- around it


def read_corpus(limit: int | None) -> tuple[np.ndarray, list[int], list[Path]]:
    """All documents end to end in one array, where each begins, and their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts and path.is_file())[:limit]
    texts = [path.read_bytes() for path in paths]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).tolist()
    return np.frombuffer(b"".join(texts), dtype=np.uint8), offsets, [path.relative_to(root) for path in paths]


def split(offsets: list[int], pieces: int) -> list[tuple[int, list[int]]]:
    """Cut the documents into runs of about equal size: (number of the first, offsets of the run)."""
    goals = [offsets[-1] * piece // pieces for piece in range(1, pieces)]
    cuts = sorted({0, *np.searchsorted(offsets, goals).tolist(), len(offsets) - 1})
    return [(start, offsets[start : end + 1]) for start, end in zip(cuts, cuts[1:], strict=False)]


class Display:
    """A live bar on a terminal, and now and then a plain line everywhere else."""

    def __init__(self, title: str, documents: int) -> None:
        self.title, self.total, self.said = title, documents, -1
        self.bar: Any = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TextColumn("files")
            self.bar = Progress(*columns, TextColumn("{task.fields[size]:5.1f} MB"), TimeElapsedColumn())
            self.task = self.bar.add_task(title, total=documents, size=0.0)

    def show(self, documents: int, size: int) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=documents, size=size / 1e6)
        elif (quarter := 4 * documents // self.total) > self.said:
            self.said = quarter
            print(f"{self.title:<10} {documents:5}/{self.total} files {size / 1e6:6.1f} MB", flush=True)

    def timed(self, run: Any, *arguments: Any) -> tuple[Postings, float]:
        start = time.perf_counter()
        with self.bar or nullcontext():
            result = run(*arguments, self)
        return result, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Index the standard library, in parallel and one file after another.")
    parser.add_argument("--limit", type=int, help="use only the first LIMIT files")
    limit = parser.parse_args().limit

    corpus, offsets, paths = read_corpus(limit)
    print(f"{len(paths)} files of Python's standard library, {len(corpus) / 1e6:.1f} MB, {os.cpu_count()} CPUs")

    start = time.perf_counter()
    aktis.init()
    print(f"aktis is up after {time.perf_counter() - start:.2f} s")
    chunks = split(offsets, pieces=16)
    parallel, parallel_s = Display("aktis", len(paths)).timed(run_parallel, corpus, chunks)
    aktis.shutdown()
    sequential, sequential_s = Display("sequential", len(paths)).timed(run_sequential, corpus, chunks)

    assert parallel == sequential, "the parallel and the sequential run found different words"
    top = sorted(parallel.items(), key=lambda item: (-item[1][0], item[0]))[:8]
    print(f"\n{len(parallel):,} different words; most frequent: " + ", ".join(f"{word} {n:,}" for word, (n, _) in top))
    both = sorted(set.intersection(*(set(parallel.get(word, (0, []))[1]) for word in ("socket", "selector"))))
    print(f"files with both 'socket' and 'selector': {len(both)}, such as {', '.join(str(paths[i]) for i in both[:3])}")
    print(f"\nsequential {sequential_s:5.2f} s\naktis      {parallel_s:5.2f} s", end="   ")
    print(f"{sequential_s / parallel_s:.2f} times as fast, same result")


if __name__ == "__main__":
    main()
