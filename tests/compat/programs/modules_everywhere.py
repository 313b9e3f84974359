"""Imports as programs have them, of all releases, in the driver and in workers."""

import importlib
import sys

import ray

NAMES = """
ray.actor ray.exceptions ray.remote_function ray.runtime_context ray.runtime_env ray.util ray.util.queue ray.util.actor_pool
ray.util.scheduling_strategies ray.util.multiprocessing ray.util.joblib ray.util.metrics ray.util.placement_group ray.cloudpickle
ray.experimental.state.api ray.dag ray.dag.input_node ray.job_config
ray.air ray.air.session ray.air.config ray.air.checkpoint ray.air.result ray.air.integrations.mlflow ray.air.callbacks.mlflow
ray.tune ray.tune.suggest.optuna ray.tune.suggest.hyperopt ray.tune.suggest.suggestion ray.tune.search.optuna.optuna_search
ray.tune.search.bayesopt ray.tune.schedulers.pbt ray.tune.schedulers.pb2 ray.tune.stopper ray.tune.logger
ray.tune.integration.mlflow
ray.tune.trial ray.tune.sample ray.tune.session ray.tune.progress_reporter ray.tune.utils.placement_groups ray.tune.registry
""".split()  # noqa: SIM905


def load(names):
    modules = [importlib.import_module(name) for name in names]
    return [
        module is sys.modules["aktis" + name[3:]]
        for name, module in zip(names, modules)
        if "aktis" + name[3:] in sys.modules
    ]


here = load(NAMES)
print("same objects", all(here), len(here) > 20)
ray.init(num_cpus=1, log_to_driver=False)
there = ray.get(ray.remote(load).remote(NAMES))
print("in a worker", all(there), len(there) > 20)


@ray.remote
def versions():
    return ray.__version__, ray.__commit__.startswith("aktis-")


print("version", ray.get(versions.remote()), ray.__version__ >= "2.0")
import ray.util.placement_group  # noqa: E402

print("function", callable(ray.util.placement_group), ray.util.placement_group.__name__)
