"""What plans say without being executed, and as text."""

from __future__ import annotations

import pyarrow as pa
from tests.data.plan.helpers import Doubled, MemoryReader, in_memory, over, read

from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.sort import Sort
from aktis.data._exchanges.zip import Zip
from aktis.data._plan import facts
from aktis.data._plan.explain import describe, explain, tree
from aktis.data._plan.logical import Compute, Exchanged, Filter, Limit, Map, Project, Read, Rearranged, Union
from aktis.data.context import DatasetContext
from aktis.data.expressions import col, udf

A = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})


def test_numbers_of_rows():
    source = read(A, A)
    assert facts.known_rows(source) == 6
    assert facts.known_rows(over(source, Limit, limit=4)) == 4
    assert facts.known_rows(over(source, Filter, predicate=col("a") > 1)) is None
    assert facts.known_rows(over(over(source, Filter, predicate=col("a") > 1), Limit, limit=0)) == 0
    assert facts.known_rows(over(source, Map, transform=Doubled())) is None
    assert facts.known_rows(over(source, Map, transform=Doubled(), keeps_rows=True)) == 6
    assert facts.known_rows(Union(inputs=(source, in_memory(A)))) == 9
    assert facts.known_rows(over(source, Exchanged, exchange=Sort(make_keys("a", operation="sort")))) == 6
    assert facts.known_rows(Rearranged(rearrangement=Zip(), inputs=(source, source))) == 6
    assert facts.known_rows(Rearranged(rearrangement=Zip(), inputs=(source, in_memory(A)))) is None
    assert facts.known_rows(read(A, without="count")) is None


def test_schemas():
    source = read(A)
    computed = over(source, Project, columns=(("c", col("a") / 2),), keep=True, drop=("b",))
    assert facts.known_schema(computed) == pa.schema([("a", pa.int64()), ("c", pa.float64())])
    assert facts.known_schema(over(computed, Limit, limit=1)).names == ["a", "c"]
    assert facts.known_schema(over(source, Map, transform=Doubled(), keeps_rows=True)) is None
    untyped = over(source, Project, columns=(("c", udf()(lambda x: x)(col("a"))),))
    assert facts.known_schema(untyped) is None
    assert facts.known_schema(over(source, Project, columns=(("c", col("nope")),))) is None
    assert facts.known_schema(in_memory(A.slice(0, 0), A)) == A.schema
    assert facts.known_schema(Union(inputs=(source, over(source, Map, transform=Doubled())))) is None


def test_files_bytes_and_reads():
    one = Read(reader=MemoryReader((A,), files=("x", "y")), label="ReadMemory")
    two = Read(reader=MemoryReader((A,), files=("y", "z")), label="ReadMemory")
    plan = over(Union(inputs=(one, two, in_memory(A))), Limit, limit=3)
    assert facts.input_files(plan) == ["x", "y", "z"]
    assert facts.has_reads(plan) and not facts.has_reads(in_memory(A))
    assert facts.estimated_bytes(plan) == A.nbytes
    assert facts.estimated_bytes(Union(inputs=(one, two))) == 2 * A.nbytes


def test_operators_say_what_they_do():
    plan = over(
        over(read(A), Project, columns=(("c", col("a") + 1), ("a", col("a"))), keep=True, drop=("b",)),
        Map,
        transform=Doubled(),
        compute=Compute(pool_size=(1, 4), remote_args={"num_gpus": 1}),
    )
    text = tree(Union(inputs=(over(plan, Limit, limit=1000), in_memory(A))), describe)
    assert text == "\n".join(
        [
            "Union",
            "├─ Limit[1,000]",
            "│  └─ Map(double)[actors: 1 to 4, num_gpus=1]",
            "│     └─ Project[+ c=col('a') + 1, a - b]",
            "│        └─ ReadMemory",
            "└─ InputBlocks[1 block, 3 rows]",
        ]
    )


def test_explain_shows_all_three_plans():
    plan = over(read(A, A), Filter, predicate=col("a") > 1)
    text = explain(plan, DatasetContext())
    assert [line for line in text.splitlines() if line.endswith("plan")] == [
        "Logical plan",
        "Optimized plan",
        "Physical plan",
    ]
    assert "Filter[col('a') > 1]\n└─ ReadMemory" in text
    assert "ReadMemory[filter=(a > 1)]" in text
    context = DatasetContext(optimizer_enabled=False)
    assert "optimizer_enabled is off" in explain(plan, context)
