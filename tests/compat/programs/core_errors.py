"""Exceptions under the names that Ray gives them, in the driver and in tasks."""

import os
import pickle

import ray
from ray import exceptions
from ray.exceptions import (
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

ray.init(num_cpus=2, log_to_driver=False)


class Custom(Exception):
    pass


@ray.remote(max_retries=0)
def fail(kind):
    if kind == "custom":
        raise Custom("on purpose")
    os._exit(1)


@ray.remote
class Fragile:
    def die(self):
        os._exit(1)


@ray.remote
def catches():
    try:
        ray.get(fail.remote("custom"))
    except ray.exceptions.RayTaskError as error:
        return type(error).__name__, RayTaskError.__name__, isinstance(error, exceptions.RayError)


try:
    ray.get(fail.remote("custom"))
except Custom as error:
    print("custom", isinstance(error, RayTaskError), "on purpose" in str(error))
try:
    ray.get(fail.remote("die"))
except WorkerCrashedError as error:
    print("crashed", isinstance(error, RayError))
fragile = Fragile.remote()
try:
    ray.get(fragile.die.remote())
except RayActorError:
    print("actor died")
print("in a task", ray.get(catches.remote())[2])
print(
    "classes",
    pickle.loads(pickle.dumps(GetTimeoutError)) is GetTimeoutError,
    TaskCancelledError is exceptions.TaskCancelledError,
)
