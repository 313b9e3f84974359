"""Tasks, actors, wait and placement groups, as tutorials of Ray 1.x write them."""

import time

import ray
from ray.util import ActorPool
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.queue import Queue

ray.init(num_cpus=4, include_dashboard=False, ignore_reinit_error=True, log_to_driver=False)


@ray.remote
def square(x):
    return x * x


@ray.remote(num_returns=2)
def divide(a, b):
    return a // b, a % b


@ray.remote
class Counter:
    def __init__(self, start=0):
        self.value = start

    def increment(self, by=1):
        self.value += by
        return self.value


@ray.remote
def outer(count):
    return sum(ray.get([square.remote(i) for i in range(count)]))


print("squares", ray.get([square.remote(i) for i in range(5)]))
quotient, rest = divide.remote(17, 5)
print("divide", ray.get(quotient), ray.get(rest))
counter = Counter.options(name="the_counter", namespace=None).remote(10)
ray.get([counter.increment.remote() for _ in range(3)])
same = ray.get_actor("the_counter")
print("counter", ray.get(same.increment.remote(by=2)))
print("nested", ray.get(outer.remote(4)))
ready, waiting = ray.wait([square.remote(3)], num_returns=1, timeout=10)
print("ready", len(ready), len(waiting))

pool = ActorPool([Counter.remote(), Counter.remote()])
print("pool", sorted(pool.map(lambda actor, value: actor.increment.remote(value), [1, 1])))
queue = Queue(maxsize=3)
queue.put("item")
print("queue", queue.get())
group = placement_group([{"CPU": 1}], strategy="PACK")
ray.get(group.ready())
print("in group", ray.get(square.options(placement_group=group).remote(5)))
remove_placement_group(group)
started = time.time()
try:
    ray.get(square.options(num_cpus=0).remote("text"), timeout=20)
except TypeError as error:
    print("error", isinstance(error, ray.exceptions.RayTaskError))
ray.kill(counter)
ray.shutdown()
print("initialized", ray.is_initialized())
