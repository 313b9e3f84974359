from __future__ import annotations

import inspect
import operator
from typing import Any

import pytest

import aktis

dask = pytest.importorskip("dask")
pytest.importorskip("numpy")

from aktis.util.dask import (  # noqa: E402
    AktisDaskCallback,
    ProgressBarCallback,
    RayDaskCallback,
    aktis_dask_get,
    aktis_dask_get_sync,
    aktis_dask_persist,
    dataframe_optimize,
    disable_dask_on_aktis,
    disable_dask_on_ray,
    enable_dask_on_aktis,
    enable_dask_on_ray,
    ray_dask_get,
    ray_dask_get_sync,
    ray_dask_persist,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def delayed() -> Any:
    return dask.delayed(lambda value: value + 1)


def test_plain_graphs(session: str) -> None:
    graph = {
        "x": 1,
        "y": (operator.add, "x", 1),
        "z": (sum, ["x", "y"]),
        "alias": "z",
        "unused": (operator.truediv, 1, 0),
    }
    assert aktis_dask_get(graph, "z") == 3
    assert ray_dask_get(graph, ["z", ["y", "x"], "alias"]) == (3, (2, 1), 3)
    assert aktis_dask_get_sync(graph, ["z"]) == (3,)
    with pytest.raises(KeyError, match="no key 'q'"):
        aktis_dask_get(graph, "q")


def test_delayed_and_nested_results(session: str, delayed: Any) -> None:
    with enable_dask_on_aktis():
        assert dask.compute(delayed(1), [delayed(2), {"k": delayed(delayed(3))}]) == (2, [3, {"k": 5}])


def test_arrays(session: str) -> None:
    import dask.array as da
    import numpy as np

    data = np.arange(400.0).reshape(20, 20)
    array = da.from_array(data, chunks=(7, 7))
    result = (array + array.T).sum(axis=0).compute(scheduler=aktis_dask_get)
    np.testing.assert_array_equal(result, (data + data.T).sum(axis=0))


def test_data_frames(session: str) -> None:
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"a": range(40), "b": [number % 4 for number in range(40)]})
    with enable_dask_on_ray(shuffle="tasks"):
        parts = dd.from_pandas(frame, npartitions=3)
        assert parts.groupby("b").a.sum().compute().tolist() == frame.groupby("b").a.sum().tolist()
        assert parts.set_index("b").loc[2].a.sum().compute() == frame[frame.b == 2].a.sum()
        kept = parts.persist(aktis_persist=True)
        assert (kept.a + 1).sum().compute() == (frame.a + 1).sum()


def test_persist_keeps_references(session: str) -> None:
    import dask.array as da

    array = da.ones((8, 8), chunks=4) + 1
    with enable_dask_on_aktis():
        kept = array.persist(aktis_persist=True)
        assert holds_references(kept)
        assert kept.sum().compute() == 128  # fused by dask into the tasks that use them
        assert (kept * 2).sum().compute(optimize_graph=False) == 256


def holds_references(collection: Any) -> bool:
    return all(isinstance(value, aktis.ObjectRef) for value in collection.__dask_graph__().values())


def test_persist_without_asking_for_references(session: str) -> None:
    import dask.array as da

    array = da.ones((8, 8), chunks=4) + 1
    one, other = ray_dask_persist(array, array + 1)
    assert holds_references(one) and holds_references(other)
    assert other.sum().compute(scheduler=aktis_dask_get) == 192
    asks_scheduler = "client.persist" in inspect.getsource(dask.base.persist)  # which older versions do not
    assert holds_references(array.persist(scheduler=aktis_dask_get)) is asks_scheduler
    with enable_dask_on_aktis():
        assert holds_references(dask.persist(array)[0]) is asks_scheduler
        assert not holds_references(array.persist(ray_persist=False))
    assert array.persist(scheduler="sync").sum().compute(scheduler="sync") == 128


def test_data_frames_that_are_persisted(session: str) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("dask.dataframe")
    import dask.dataframe

    frame = pd.DataFrame({"a": range(20), "b": [1, 2] * 10})
    with enable_dask_on_aktis():
        kept = ray_dask_persist(dask.dataframe.from_pandas(frame, npartitions=2))[0]
        assert kept.groupby("b").a.sum().compute().to_dict() == {1: 90, 2: 100}


def test_the_graph_without_what_is_not_needed() -> None:
    graph = {"a": 1, "b": (operator.add, "a", 1), "c": (operator.add, "a", 2)}
    assert set(dataframe_optimize(graph, [["b"]])) == {"a", "b"}


def test_the_error_is_the_functions_own(session: str) -> None:
    with pytest.raises(ZeroDivisionError):
        aktis_dask_get({"x": (operator.truediv, 1, 0), "y": (operator.add, "x", 1)}, "y")


def test_switching_on_and_off(session: str) -> None:
    with enable_dask_on_aktis():
        assert dask.config.get("scheduler") is aktis_dask_get
        with disable_dask_on_aktis():
            assert dask.config.get("scheduler") is None
    assert dask.config.get("scheduler", None) is None
    with pytest.raises(ValueError, match="shuffle must be"):
        enable_dask_on_aktis(shuffle="p2p")


def test_options_for_all_and_for_some(session: str) -> None:
    cpus = lambda *_: aktis.get_runtime_context().get_assigned_resources().get("CPU")
    assert aktis_dask_get({"x": (cpus,)}, "x", ray_remote_args={"num_cpus": 2}) == 2
    import dask.array as da

    with dask.annotate(aktis_remote_args={"num_cpus": 2}):
        array = da.zeros(2, chunks=2).map_blocks(lambda block: block + cpus(), dtype=float, meta=block_meta())
    assert array.compute(scheduler=aktis_dask_get, optimize_graph=False).tolist() == [2.0, 2.0]


def block_meta() -> Any:
    import numpy as np

    return np.zeros(0)


def test_dasks_own_callbacks(session: str) -> None:
    from dask.callbacks import Callback

    started, finished, ends = [], [], []
    callback = Callback(
        pretask=lambda key, graph, state: started.append(key),
        posttask=lambda key, result, graph, state, worker: finished.append((key, result)),
        finish=lambda graph, state, failed: ends.append((len(state["finished"]), failed)),
    )
    graph = {"x": (operator.add, 1, 1), "y": (operator.add, "x", 1)}
    with callback:
        assert aktis_dask_get(graph, "y") == 3
    assert sorted(started) == ["x", "y"]
    assert sorted(finished) == [("x", 2), ("y", 3)]
    assert ends == [(2, False)]
    with callback, pytest.raises(ZeroDivisionError):
        aktis_dask_get({"x": (operator.truediv, 1, 0)}, "x")
    assert ends[-1][1] is True


def test_our_callbacks(session: str) -> None:
    seen: list[Any] = []

    class Watch(AktisDaskCallback):
        def _aktis_presubmit(self, task: Any, key: Any, deps: Any) -> Any:
            return 40 if key == "x" else None

        def _ray_postsubmit_all(self, refs: Any, graph: Any) -> None:
            seen.append(len(refs))

        def _aktis_finish(self, result: Any) -> None:
            seen.append(result)

    graph = {"x": (operator.add, 1, 1), "y": (operator.add, "x", 2)}
    with Watch():
        assert aktis_dask_get(graph, "y") == 42
    assert seen == [1, 42]
    assert aktis_dask_get(graph, "y") == 4
    with pytest.raises(TypeError, match="unknown hook 'nothing'"):
        AktisDaskCallback(nothing=print)


def test_hooks_around_tasks_in_workers(session: str) -> None:
    from aktis.util.queue import Queue

    notes = Queue()
    callback = AktisDaskCallback(
        ray_pretask=lambda key, values: notes.put(("before", key)) or "state",
        ray_posttask=lambda key, result, state: notes.put(("after", key, result, state)),
    )
    assert aktis_dask_get({"x": (operator.add, 1, 1)}, "x", aktis_callbacks=[callback]) == 2
    assert [notes.get(), notes.get()] == [("before", "x"), ("after", "x", 2, "state")]


def test_the_names_of_ray(session: str, delayed: Any) -> None:
    told: list[Any] = []

    class Watch(RayDaskCallback):
        def _ray_presubmit(self, task: Any, key: Any, deps: Any) -> Any:
            told.append(key)
            return 10 if key == "known" else None

        def _ray_finish(self, result: Any) -> None:
            told.append(result)

    graph = {"known": (operator.truediv, 1, 0), "sum": (operator.add, "known", 1)}
    with Watch(), RayDaskCallback(ray_postsubmit_all=lambda refs, dsk: told.append(len(refs))):
        assert ray_dask_get_sync(graph, "sum") == 11
    assert told[:2] == ["known", "sum"]
    assert 1 in told[2:]
    with pytest.raises(TypeError, match="unknown hook 'ray_before'"):
        RayDaskCallback(ray_before=print)


def test_a_bar_shows_how_many_tasks_are_done(capsys: pytest.CaptureFixture[str], delayed: Any) -> None:
    aktis.init(mode="inline", num_cpus=2)
    try:
        with ProgressBarCallback():
            assert delayed(delayed(1)).compute(scheduler=aktis_dask_get, optimize_graph=False) == 3
    finally:
        aktis.shutdown()
    captured = capsys.readouterr()
    assert "dask" in captured.out + captured.err
    assert "2/2" in captured.out + captured.err


def test_persisted_by_hand(delayed: Any) -> None:
    aktis.init(mode="inline", num_cpus=2)
    try:
        (kept,) = aktis_dask_persist(delayed(1))
        assert all(isinstance(value, aktis.ObjectRef) for value in dict(kept.__dask_graph__()).values())
        assert kept.compute(scheduler=aktis_dask_get) == 2
        (here,) = aktis_dask_persist(delayed(1), aktis_persist=False)
        assert list(dict(here.__dask_graph__()).values()) == [2]
    finally:
        aktis.shutdown()


def test_off_again() -> None:
    with dask.config.set({"scheduler": "sync"}):
        enable_dask_on_ray()
        assert dask.config.get("scheduler") is aktis_dask_get
        with disable_dask_on_ray():
            assert dask.config.get("scheduler") is None
        assert dask.config.get("scheduler") is aktis_dask_get
        disable_dask_on_ray()
        assert dask.config.get("scheduler") is None


def test_references_in_lists_and_dicts_of_a_task(session: str) -> None:
    from dask._task_spec import Dict, List, Task

    one, two = aktis.put(1), aktis.put(2)
    graph = {
        "list": Task("list", sum, List(one, two)),
        "dict": Task("dict", sorted, Dict({"b": one, "a": two})),
        "both": Task("both", operator.getitem, List(List(one), Dict({"k": two})), 1),
    }
    for get in (aktis_dask_get, aktis_dask_get_sync):
        assert get(graph, ["list", "dict", "both"]) == (3, ["a", "b"], {"k": 2})


def test_a_persisted_collection_is_looked_at_in_this_process() -> None:
    import dask.array as da
    import numpy as np

    aktis.init(mode="inline", num_cpus=2)
    try:
        kept = da.ones((4, 4), chunks=2).persist(scheduler=aktis_dask_get, aktis_persist=True)
        assert (kept + 1).sum().compute(scheduler=aktis_dask_get_sync) == 32.0
        assert kept.compute(scheduler=aktis_dask_get_sync).tolist() == np.ones((4, 4)).tolist()
    finally:
        aktis.shutdown()
