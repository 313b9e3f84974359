from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

import aktis
from aktis.util import as_completed, debug, inspect_serializability, log_once, map_unordered
from aktis.util.annotations import AktisDeprecationWarning, Deprecated, DeveloperAPI, PublicAPI


def test_as_completed(session: str) -> None:
    square = aktis.remote(lambda value: value * value)
    refs = [square.remote(value) for value in range(12)]
    assert sorted(as_completed(refs)) == [value * value for value in range(12)]
    assert set(as_completed(refs, chunk_size=1, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []
    with pytest.raises(ValueError, match="chunk_size"):
        as_completed(refs, chunk_size=0)


def test_as_completed_does_not_hold_back_what_is_ready(native: None) -> None:
    @aktis.remote
    class Gate:
        async def hang(self) -> None:
            import asyncio

            await asyncio.Event().wait()

        async def pass_through(self) -> str:
            return "through"

    gate = Gate.remote()
    results = as_completed([gate.hang.remote(), gate.pass_through.remote()], timeout=30)
    assert next(results) == "through"
    late = as_completed([gate.hang.remote()], timeout=0.01)
    with pytest.raises(aktis.exceptions.GetTimeoutError):
        next(late)


def test_as_completed_raises_what_a_call_raised(session: str) -> None:
    @aktis.remote
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        list(as_completed([fail.remote()]))


def test_map_unordered_reads_endless_input_as_it_goes(session: str) -> None:
    square = aktis.remote(lambda value: value * value)
    assert sorted(map_unordered(square, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    read = []

    def items():
        for item in itertools.count():
            read.append(item)
            yield item

    results = map_unordered(square, items(), backpressure_size=4, chunk_size=2)
    taken = [next(results) for _ in range(10)]
    assert len(taken) == 10
    assert len(read) <= 14
    with pytest.raises(ValueError, match="backpressure_size"):
        map_unordered(square, [], backpressure_size=1, chunk_size=2)


def test_log_once() -> None:
    debug.reset_log_once()
    assert [log_once("a"), log_once("a"), log_once("b")] == [True, False, True]
    debug.reset_log_once("a")
    assert log_once("a")
    debug.disable_log_once_globally()
    assert not log_once("c")
    debug.reset_log_once()
    assert log_once("c")


def test_log_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(debug.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(debug, "_periodic", False)  # and as it was, afterwards
    debug.reset_log_once()
    assert log_once("a")
    now[0] += 100
    assert not log_once("a")
    debug.enable_periodic_logging()
    assert [log_once("a"), log_once("a")] == [True, False]
    now[0] += 59
    assert not log_once("a")
    now[0] += 1
    assert log_once("a")
    debug.reset_log_once()


def test_annotations_leave_the_function_alone() -> None:
    def plain() -> int:
        """Does it."""
        return 1

    assert PublicAPI(plain) is plain
    assert DeveloperAPI(plain) is plain
    assert PublicAPI(stability="alpha")(plain) is plain
    assert "alpha" in (plain.__doc__ or "").lower()
    with pytest.raises(ValueError, match="stability"):
        PublicAPI(stability="x")

    @Deprecated(message="Use the other.", warning=True)
    def old() -> int:
        return 2

    @Deprecated(warning=True)
    class Old:
        pass

    with pytest.warns(AktisDeprecationWarning, match="Use the other"):
        assert old() == 2
    with pytest.warns(AktisDeprecationWarning):
        Old()


def test_inspect_serializability(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    fine, failures = inspect_serializability({"a": [1]}, name="config")
    assert (fine, failures) == (True, set())
    fine, failures = inspect_serializability({"a": threading.Lock()}, name="config")
    assert not fine
    assert any("config" in failure.name for failure in failures)


def test_register_serializer(session: str) -> None:
    from aktis.util import deregister_serializer, register_serializer

    class Handle:
        def __init__(self, number: int) -> None:
            self.number = number

        def __reduce__(self):
            raise TypeError("not like this")

    register_serializer(Handle, serializer=lambda handle: handle.number, deserializer=Handle)
    try:
        assert aktis.get(aktis.put(Handle(3))).number == 3
    finally:
        deregister_serializer(Handle)


def test_names_are_listed_and_nothing_heavy_is_imported() -> None:
    code = """
import sys
import aktis.util as util
heavy = {"asyncio", "numpy", "typer", "rich", "prometheus_client", "torch", "dask", "joblib", "http.server"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert util.__all__ == sorted(util.__all__), util.__all__
for name in util.__all__:
    getattr(util, name)
assert dir(util) == util.__all__
try:
    util.nothing
except AttributeError as error:
    assert "nothing" in str(error)
import aktis.util.tqdm, aktis.util.queue, aktis.util.debug, aktis.util.annotations
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_accelerators_and_naming(session: str) -> None:
    from aktis.util import accelerators, get_node_ip_address, list_named_actors

    assert accelerators.NVIDIA_A100 == "A100"
    assert get_node_ip_address() == "127.0.0.1"

    @aktis.remote
    class Named:
        pass

    keep = Named.options(name="it", namespace=None).remote()
    assert list_named_actors() == ["it"]
    assert [actor["name"] for actor in list_named_actors(all_namespaces=True)] == ["it"]
    del keep


def test_annotations_say_what_they_mark() -> None:
    from aktis.util.annotations import AnnotationType, RayDeprecationWarning

    for mark, kind in (
        (PublicAPI, AnnotationType.PUBLIC_API),
        (DeveloperAPI, AnnotationType.DEVELOPER_API),
        (Deprecated, AnnotationType.DEPRECATED),
    ):

        def plain() -> None: ...

        mark(plain)
        assert plain._annotated_type is kind
        assert plain._annotated == "plain"
        assert mark(len) is len  # nothing can be attached to it, and nothing needs to be
    assert [kind.value for kind in AnnotationType] == ["PublicAPI", "DeveloperAPI", "Deprecated", "Unknown"]

    @Deprecated(warning=True)
    def old() -> None: ...

    with pytest.warns(RayDeprecationWarning, match="old is deprecated"):
        old()


def test_what_stands_in_the_way_is_named_with_its_place() -> None:
    import threading

    from aktis.util.check_serialize import FailureTuple

    lock = threading.Lock()
    config = {"a": [lock]}
    _, failures = inspect_serializability(config, name="config")
    (failure,) = failures
    assert isinstance(failure, FailureTuple)
    assert failure.obj is lock
    assert failure.parent is config["a"]
    assert failure in {FailureTuple(lock, failure.name, None)}
    assert failure.name.startswith("config") and "'a'" in failure.name.replace('"', "'") and "[0]" in failure.name


def test_pickles_by_value() -> None:
    import pickle
    import threading

    import cloudpickle

    from aktis.exceptions import SerializationError
    from aktis.util.serialization import deregister_serializer, dumps_by_value, pickler_class, register_serializer

    def local(value: int) -> int:
        return value + 1

    assert pickle.loads(dumps_by_value(local))(1) == 2
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="settings") as caught:
        dumps_by_value({"guard": lock}, "settings")
    assert any("guard" in path for path in caught.value.paths)
    with pytest.raises(TypeError) as plain:
        dumps_by_value({"guard": lock})
    assert not isinstance(plain.value, SerializationError)

    class Handle:
        def __init__(self, number: int) -> None:
            self.number = number

        def __reduce__(self):
            raise TypeError("not like this")

    assert issubclass(pickler_class(), cloudpickle.Pickler)
    register_serializer(Handle, serializer=lambda handle: handle.number, deserializer=Handle)
    try:
        assert pickle.loads(dumps_by_value(Handle(3))).number == 3
    finally:
        deregister_serializer(Handle)
    with pytest.raises(TypeError, match="not like this"):
        dumps_by_value(Handle(3))


RAYS_ACCELERATORS = {
    "AMD_INSTINCT_MI100": "AMD-Instinct-MI100",
    "AMD_INSTINCT_MI210": "AMD-Instinct-MI210",
    "AMD_INSTINCT_MI250": "AMD-Instinct-MI250X-MI250",
    "AMD_INSTINCT_MI250X": "AMD-Instinct-MI250X",
    "AMD_INSTINCT_MI250x": "AMD-Instinct-MI250X",
    "AMD_INSTINCT_MI300A": "AMD-Instinct-MI300A",
    "AMD_INSTINCT_MI300X": "AMD-Instinct-MI300X-OAM",
    "AMD_INSTINCT_MI300x": "AMD-Instinct-MI300X-OAM",
    "AMD_INSTINCT_MI300x_HF": "AMD-Instinct-MI300X-HF",
    "AMD_INSTINCT_MI308x": "AMD-Instinct-MI308X",
    "AMD_INSTINCT_MI325x": "AMD-Instinct-MI325X-OAM",
    "AMD_INSTINCT_MI350x": "AMD-Instinct-MI350X-OAM",
    "AMD_INSTINCT_MI355x": "AMD-Instinct-MI355X-OAM",
    "AMD_RADEON_HD_7900": "AMD-Radeon-HD-7900",
    "AMD_RADEON_R9_200_HD_7900": "AMD-Radeon-R9-200-HD-7900",
    "APPLE_M1": "M1",
    "APPLE_M1_MAX": "M1-Max",
    "APPLE_M1_PRO": "M1-Pro",
    "APPLE_M1_ULTRA": "M1-Ultra",
    "APPLE_M2": "M2",
    "APPLE_M2_MAX": "M2-Max",
    "APPLE_M2_PRO": "M2-Pro",
    "APPLE_M2_ULTRA": "M2-Ultra",
    "APPLE_M3": "M3",
    "APPLE_M3_MAX": "M3-Max",
    "APPLE_M3_PRO": "M3-Pro",
    "APPLE_SILICON": "Apple-Silicon",
    "AWS_NEURON_CORE": "aws-neuron-core",
    "FURIOSA_RNGD": "FURIOSA_RNGD",
    "GOOGLE_TPU_V2": "TPU-V2",
    "GOOGLE_TPU_V3": "TPU-V3",
    "GOOGLE_TPU_V4": "TPU-V4",
    "GOOGLE_TPU_V5LITEPOD": "TPU-V5LITEPOD",
    "GOOGLE_TPU_V5P": "TPU-V5P",
    "GOOGLE_TPU_V6E": "TPU-V6E",
    "GOOGLE_TPU_V7X": "TPU-V7X",
    "HUAWEI_NPU_910B": "Ascend910B",
    "HUAWEI_NPU_910B4": "Ascend910B4",
    "INTEL_GAUDI": "Intel-GAUDI",
    "INTEL_MAX_1100": "Intel-GPU-Max-1100",
    "INTEL_MAX_1550": "Intel-GPU-Max-1550",
    "METAX_C500": "MXC500",
    "METAX_C550": "MXC550",
    "MOBILINT_ARIES": "MOBILINT_ARIES",
    "MOBILINT_REGULUS": "MOBILINT_REGULUS",
    "NVIDIA_A100": "A100",
    "NVIDIA_A100_40G": "A100-40G",
    "NVIDIA_A100_80G": "A100-80G",
    "NVIDIA_B200": "B200",
    "NVIDIA_B300": "B300",
    "NVIDIA_GB200": "GB200",
    "NVIDIA_GB300": "GB300",
    "NVIDIA_H100": "H100",
    "NVIDIA_H20": "H20",
    "NVIDIA_H200": "H200",
    "NVIDIA_L4": "L4",
    "NVIDIA_L40S": "L40S",
    "NVIDIA_RTX_PRO_6000": "RTX-PRO-6000",
    "NVIDIA_TESLA_A100": "A100",
    "NVIDIA_TESLA_A10G": "A10G",
    "NVIDIA_TESLA_K80": "K80",
    "NVIDIA_TESLA_P100": "P100",
    "NVIDIA_TESLA_P4": "P4",
    "NVIDIA_TESLA_T4": "T4",
    "NVIDIA_TESLA_V100": "V100",
}


def test_accelerators_have_the_names_that_nodes_of_ray_announce() -> None:
    from aktis.util import accelerators

    assert {name: getattr(accelerators, name) for name in accelerators.__all__} == RAYS_ACCELERATORS


def test_a_task_finds_its_accelerator() -> None:
    from aktis.util.accelerators import NVIDIA_H100

    aktis.init(mode="inline", num_cpus=1, resources={f"accelerator_type:{NVIDIA_H100}": 1})
    try:
        task = aktis.remote(accelerator_type=NVIDIA_H100)(lambda: 1)
        assert aktis.get(task.remote()) == 1
    finally:
        aktis.shutdown()
