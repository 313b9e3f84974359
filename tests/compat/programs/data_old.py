"""Data sets and a preprocessor: Ray 2.0 to 2.3."""

import ray
from ray.data import ActorPoolStrategy
from ray.data.aggregate import Max, Mean
from ray.data.preprocessors import BatchMapper, StandardScaler

ray.init(num_cpus=2, log_to_driver=False)


class Plus:
    def __init__(self):
        self.add = 100

    def __call__(self, batch):
        return [x + self.add for x in batch]


ds = ray.data.range(10)
print("take", ds.map(lambda x: x + 1).filter(lambda x: x % 2 == 0).take(3))
print("sum", ray.data.from_items([1, 2, 3]).sum())
table = ray.data.from_items([{"k": i % 2, "v": float(i)} for i in range(6)])
print("groups", table.groupby("k").aggregate(Mean("v"), Max("v")).take_all())
scaled = StandardScaler(columns=["v"]).fit_transform(table)
print("scaled", abs(round(sum(row["v"] for row in scaled.iter_rows()), 6)))
mapper = BatchMapper(lambda frame: frame.assign(w=frame["v"] * 2), batch_format="pandas")
print("mapped", mapper.transform(table).take(1))
print("actors", ray.data.from_items([1, 2]).map_batches(Plus, compute=ActorPoolStrategy(1, 1)).take_all())
pipe = ray.data.range(4).window(blocks_per_window=1)
print("pipeline", sorted(pipe.map(lambda x: x * 10).iter_rows()))
