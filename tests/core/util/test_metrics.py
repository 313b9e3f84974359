from __future__ import annotations

import pickle
import urllib.error
import urllib.request

import pytest

import aktis
from aktis.util import _metrics_export
from aktis.util.metrics import Counter, Gauge, Histogram, Metric, MetricsServer, exposition, start_http_exporter


@pytest.fixture(autouse=True)
def fresh_registry() -> None:
    _metrics_export._forget()


def lines(name: str) -> list[str]:
    return [line for line in exposition().splitlines() if line.startswith(name)]


def test_three_kinds() -> None:
    Counter("rows", "rows read").inc(2)
    Counter("rows", "rows read").inc()
    gauge = Gauge("depth")
    gauge.set(5)
    gauge.set(None)
    histogram = Histogram("seconds", boundaries=[0.1, 1.0])
    histogram.observe(0.5)
    text = exposition()
    assert "# HELP aktis_rows_total rows read" in text
    assert lines("aktis_rows_total")[0].endswith(" 3.0")
    assert lines("aktis_depth")[0].endswith(" 5.0")
    assert [line.split()[-1] for line in lines("aktis_seconds_bucket")] == ["0.0", "1.0", "1.0"]
    assert histogram.info["boundaries"] == [0.1, 1.0]


def test_many_at_once_are_as_one_by_one() -> None:
    values = [0.05, 0.1, 0.5, 1.0, 7.0, 7]
    one, many = (Histogram(name, boundaries=[0.1, 1.0], tag_keys=("k",)) for name in ("one", "many"))
    for value in values:
        one.observe(value, {"k": "v"})
    many.observe_many(values, {"k": "v"})
    many.observe_many([])
    told = [line.split()[-1] for line in lines("aktis_one_")]
    assert told == [line.split()[-1] for line in lines("aktis_many_")]
    assert "2.0" in told and "4.0" in told and "6.0" in told


def test_tags_are_strict() -> None:
    counter = Counter("calls", tag_keys=("route", "code"))
    with pytest.raises(ValueError, match="needs a value for tag\\(s\\) route, code"):
        counter.inc()
    with pytest.raises(ValueError, match="needs a value for tag\\(s\\) code"):
        counter.inc(tags={"route": "/"})
    with pytest.raises(ValueError, match="unknown tag key 'verb'"):
        counter.inc(tags={"route": "/", "code": "200", "verb": "GET"})
    with pytest.raises(TypeError, match="must be a str, got 200"):
        counter.inc(tags={"route": "/", "code": 200})  # type: ignore[dict-item]
    counter.set_default_tags({"code": "200"})
    counter.inc(tags={"route": "/"})
    counter.inc(tags={"route": "/", "code": "500"})
    assert counter.info["default_tags"] == {"code": "200"}
    assert len(lines("aktis_calls_total")) == 2
    with pytest.raises(ValueError, match="unknown tag key"):
        counter.set_default_tags({"x": "1"})


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Counter(""), ValueError),
        (lambda: Counter("a b"), ValueError),
        (lambda: Counter("a", tag_keys="ab"), TypeError),
        (lambda: Counter("a", tag_keys=(1,)), TypeError),
        (lambda: Counter("a", tag_keys=("a-b",)), ValueError),
        (lambda: Counter("a").inc(0), ValueError),
        (lambda: Counter("a").inc(-1), ValueError),
        (lambda: Counter("a").inc("1"), TypeError),
        (lambda: Gauge("a").set("1"), TypeError),
        (lambda: Histogram("a"), ValueError),
        (lambda: Histogram("a", boundaries=[0, 1]), ValueError),
        (lambda: Histogram("a", boundaries=[2, 1]), ValueError),
        (lambda: Metric("a"), TypeError),
    ],
)
def test_what_is_refused(make, error) -> None:
    with pytest.raises(error):
        make()


def test_one_name_is_one_metric() -> None:
    Counter("thing", tag_keys=("a",)).inc(tags={"a": "1"})
    with pytest.raises(ValueError, match="exists in this process as a counter"):
        Gauge("thing").set(1)
    with pytest.raises(ValueError, match="exists in this process"):
        Counter("thing", tag_keys=("b",)).inc(tags={"b": "1"})


def test_metrics_travel() -> None:
    counter = Counter("sent", "it", tag_keys=("a",))
    counter.set_default_tags({"a": "x"})
    copy = pickle.loads(pickle.dumps(counter))
    assert copy.info == counter.info
    copy.inc()
    assert lines("aktis_sent_total")[0].endswith(" 1.0")
    histogram = pickle.loads(pickle.dumps(Histogram("h", boundaries=[1, 2])))
    assert histogram.boundaries == [1.0, 2.0]


def test_what_workers_count_is_seen(session: str) -> None:
    counter = Counter("work", tag_keys=("who",))
    counter.inc(tags={"who": "driver"})

    @aktis.remote
    class Worker:
        def work(self, counter: Counter) -> None:
            from aktis.util import _metrics_export

            counter.inc(4, tags={"who": "worker"})
            _metrics_export._current().write()  # what the thread does within two seconds

    worker = Worker.remote()
    aktis.get(worker.work.remote(counter))
    found = {line.split('who="')[1].split('"')[0]: line for line in lines("aktis_work_total")}
    assert found["driver"].endswith(" 1.0")
    assert found["worker"].endswith(" 4.0")
    assert 'WorkerId="' in found["worker"]
    assert 'NodeId="' in found["worker"]


def test_the_thread_writes_by_itself(native: None) -> None:
    import threading

    Counter("soon").inc()
    process = _metrics_export._current()
    written = threading.Event()
    plain = process.write

    def write() -> None:
        plain()
        written.set()

    process.write = write  # type: ignore[method-assign]
    Counter("soon").inc()
    assert written.wait(30)
    assert list(_metrics_export._folder().glob("*.prom"))  # type: ignore[union-attr]


def test_http_exporter() -> None:
    Counter("served").inc()
    with start_http_exporter() as server:
        assert isinstance(server, MetricsServer)
        assert server.address == "127.0.0.1"
        with urllib.request.urlopen(server.url, timeout=30) as answer:
            assert "aktis_served_total" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/other", timeout=30)
        caught.value.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=30)
    server.close()  # once more does no harm


def test_the_port_of_the_http_exporter_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with start_http_exporter() as server:
        taken = server.port
        monkeypatch.setenv("AKTIS_METRICS_PORT", str(taken))
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}"):
            start_http_exporter()
        with start_http_exporter(0) as other:
            assert other.port != taken
    with start_http_exporter() as server:
        assert server.port == taken
