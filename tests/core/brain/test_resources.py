"""Amounts, devices, pools."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aktis._brain.resources import UNIT, Allocation, ResourcePool, quantity, to_fixed, to_floats, words


def pool(**amounts: float) -> ResourcePool:
    return ResourcePool.of_node(to_fixed(amounts))


def test_ten_tenths_are_one() -> None:
    cpus = pool(CPU=1)
    assert all(cpus.allocate(to_fixed({"CPU": 0.1})) for _ in range(10))
    assert cpus.allocate(to_fixed({"CPU": 0.0001})) is None
    assert to_floats(cpus.free) == {"CPU": 0.0}


def test_all_or_nothing() -> None:
    both = pool(CPU=2, disk=1)
    assert both.allocate(to_fixed({"CPU": 1, "disk": 2})) is None
    assert both.allocate(to_fixed({"tape": 1})) is None
    assert both.free == both.capacity
    assert both.allocate({}) == Allocation({})


def test_fractions_share_a_device_and_leave_whole_ones_whole() -> None:
    gpus = pool(GPU=2)
    half = gpus.allocate(to_fixed({"GPU": 0.5}))
    third = gpus.allocate(to_fixed({"GPU": 0.3}))
    assert half is not None and third is not None
    assert half.device_ids() == third.device_ids()
    whole = gpus.allocate(to_fixed({"GPU": 1}))
    assert whole is not None and whole.device_ids() != half.device_ids()
    assert gpus.allocate(to_fixed({"GPU": 0.3})) is None, "0.2 are left"


def test_pieces_on_several_devices_are_no_whole() -> None:
    gpus = pool(GPU=2)
    first, second = (gpus.allocate(to_fixed({"GPU": 0.6})) for _ in range(2))
    assert first is not None and second is not None
    assert gpus.allocate(to_fixed({"GPU": 0.8})) is None
    assert gpus.allocate(to_fixed({"GPU": 1})) is None
    gpus.release(first)
    assert gpus.allocate(to_fixed({"GPU": 1})) is not None


def test_device_ids_may_be_given() -> None:
    gpus = ResourcePool.of_node(to_fixed({"GPU": 2}), {"GPU": ["5", "7"]})
    both = gpus.allocate(to_fixed({"GPU": 2}))
    assert both is not None and both.device_ids() == {"GPU": ["5", "7"]}


def test_a_lent_cpu_comes_back_overdrawn() -> None:
    cpus = pool(CPU=1, disk=1)
    outer = cpus.allocate(to_fixed({"CPU": 1, "disk": 1}))
    assert outer is not None
    cpus.lend(outer)
    cpus.lend(outer)
    assert cpus.free == {"CPU": UNIT, "disk": 0}
    inner = cpus.allocate(to_fixed({"CPU": 1}))
    assert inner is not None
    cpus.reclaim(outer)
    assert cpus.free["CPU"] == -UNIT
    assert cpus.allocate(to_fixed({"CPU": 0.1})) is None
    assert cpus.shortage(to_fixed({"CPU": 1})) == {"CPU": 2 * UNIT}
    cpus.validate([outer, inner])
    cpus.release(inner)
    cpus.release(outer)
    cpus.release(outer)
    assert cpus.free == cpus.capacity


def test_releasing_while_lent_counts_once() -> None:
    cpus = pool(CPU=1)
    outer = cpus.allocate(to_fixed({"CPU": 1}))
    assert outer is not None
    cpus.lend(outer)
    cpus.release(outer)
    assert cpus.free == cpus.capacity


def test_shrinking() -> None:
    node = pool(CPU=2, GPU=2)
    actor = node.allocate(to_fixed({"CPU": 1, "GPU": 2}))
    assert actor is not None
    node.shrink(actor, to_fixed({"GPU": 1}))
    assert to_floats(node.free) == {"CPU": 2.0, "GPU": 1.0}
    assert len(actor.device_ids()["GPU"]) == 1
    node.validate([actor])
    node.shrink(actor, {})
    assert node.free == node.capacity and actor.device_ids() == {}


def test_words() -> None:
    assert words(to_fixed({"CPU": 2, "GPU": 0.5})) == "2 CPU, 0.5 GPU"
    assert words({}) == "nothing"
    assert quantity("memory", 3 * 1024**3 * UNIT) == "3 GB"


amounts = st.dictionaries(
    st.sampled_from(["CPU", "GPU", "disk"]), st.sampled_from([0.1, 0.25, 0.5, 1, 2, 3]), max_size=3
)


@given(st.lists(st.tuples(st.sampled_from(["take", "give", "lend", "claim", "shrink"]), amounts, st.integers(0, 9))))
def test_books_balance(steps: list[tuple[str, dict[str, float], int]]) -> None:
    node = pool(CPU=3, GPU=3, disk=2)
    held: list[Allocation] = []
    for what, request, number in steps:
        chosen = held[number % len(held)] if held else None
        if what == "take":
            allocation = node.allocate(to_fixed(request))
            if allocation is not None:
                held.append(allocation)
        elif chosen is None:
            continue
        elif what == "give":
            node.release(chosen)
            held.remove(chosen)
        elif what == "lend":
            node.lend(chosen)
        elif what == "claim":
            node.reclaim(chosen)
        else:
            node.shrink(chosen, to_fixed(request))
        node.validate(held)
    for allocation in held:
        node.release(allocation)
    assert node.free == node.capacity
