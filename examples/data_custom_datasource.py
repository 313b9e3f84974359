"""A datasource of one's own: records that come page by page from a web API, read in parallel, written into a database.

Two small classes make a source: ``Datasource`` says what it is called and gives a ``Reader``, the reader cuts the work into
``ReadTask``s. A ``Datasink`` takes blocks. The API is one that this program serves itself, on a free port: patients of
scikit-learn's diabetes study, 50 on a page.

Run: python examples/data_custom_datasource.py
Needs: pip install aktis-data scikit-learn
Prints: how many rows are in the database, and that their mean is that of the study.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import urllib.request
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_diabetes

import aktis.data
from aktis.data.block import BlockMetadata
from aktis.data.datasource import Datasink, Datasource, Reader, ReadTask, WriteContext

STUDY = load_diabetes(as_frame=True, scaled=False).frame
PAGE = 50


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = int(self.path.rsplit("=", 1)[1])
        rows = STUDY.iloc[page * PAGE : (page + 1) * PAGE].to_dict("records")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"total": len(STUDY), "rows": rows}).encode())

    def log_message(self, *_: Any) -> None:
        pass


def fetch(url: str, page: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}?page={page}", timeout=10) as answer:
        return dict(json.load(answer))


class PagesDatasource(Datasource):
    """``read_datasource(PagesDatasource(), url=...)``"""

    def create_reader(self, url: str) -> PagesReader:
        return PagesReader(url)


class PagesReader(Reader):
    def __init__(self, url: str) -> None:
        self.url, self.total = url, fetch(url, 0)["total"]

    def estimate_inmemory_data_size(self) -> int:
        return int(self.total * 100)

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        pages = range(-(-self.total // PAGE))
        tasks = []
        for mine in (pages[i::parallelism] for i in range(min(parallelism, len(pages)))):
            rows = sum(min(PAGE, self.total - page * PAGE) for page in mine)
            about = BlockMetadata(num_rows=rows, size_bytes=None, schema=None, input_files=None, exec_stats=None)
            tasks.append(ReadTask(partial(read_pages, self.url, mine), about))
        return tasks


def read_pages(url: str, pages: Iterable[int]) -> Iterable[pa.Table]:
    """Runs in a task: a block for each page, on its way as soon as it is there."""
    for page in pages:
        yield pa.Table.from_pylist(fetch(url, page)["rows"])


class SqliteDatasink(Datasink):
    def __init__(self, path: str, columns: list[str]) -> None:
        self.path, self.columns = path, columns

    def on_write_start(self) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            database.execute(f"CREATE TABLE patients ({', '.join(f'{name} REAL' for name in self.columns)})")

    def write(self, blocks: Iterable[Any], ctx: WriteContext) -> int:
        marks = ", ".join("?" * len(self.columns))
        rows = [tuple(row[name] for name in self.columns) for block in blocks for row in block.to_pylist()]
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:  # all rows of the task, or none
            database.executemany(f"INSERT INTO patients VALUES ({marks})", rows)
        return len(rows)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{server.server_port}/patients"
        patients = aktis.data.read_datasource(PagesDatasource(), url=url, parallelism=4)
        patients.map(lambda row: {"age": row["age"], "progress": row["target"]}).write_datasink(
            SqliteDatasink(f"{folder}/study.db", ["age", "progress"])
        )
        with closing(sqlite3.connect(f"{folder}/study.db")) as database:
            count, mean = database.execute("SELECT count(*), avg(progress) FROM patients").fetchone()
    server.shutdown()
    server.server_close()
    print(f"{count} patients in the database, mean progress {mean:.2f}; in the study {STUDY['target'].mean():.2f}")
    assert count == len(STUDY) and np.isclose(mean, STUDY["target"].mean())


if __name__ == "__main__":
    main()
