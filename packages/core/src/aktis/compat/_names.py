"""Where Ray's modules are in Aktis, and what was left out on purpose.

Most of Ray's modules have the same name below ``aktis``; here are the others. Names of single classes and functions that live
elsewhere are found by ``scripts/write_compat_table.py`` and kept in ``support.json``.
"""

from __future__ import annotations

__all__ = ["LEFT_OUT", "MOVED", "NAMES", "counterpart", "reason_for"]

MOVED = {
    "ray.cloudpickle": "cloudpickle",
    "ray.ml": "aktis.air",  # 1.13's name of AIR
    "ray.ml.preprocessors": "aktis.data.preprocessors",
    "ray.ml.preprocessor": "aktis.data.preprocessor",
    "ray.ml.batch_predictor": "aktis.train.batch_predictor",
    "ray.ml.train": "aktis.train",
    "ray.ml.train.integrations": "aktis.train",
    "ray.ml.predictors": "aktis.train",
    "ray.ml.predictors.integrations": "aktis.train",
    "ray.air.callbacks": "aktis.air.integrations",
    "ray.air.train": "aktis.train",
    "ray.air.train.integrations": "aktis.train",
    "ray.air.train.trainer": "aktis.train.base_trainer",
    "ray.air.predictors": "aktis.train",
    "ray.air.predictors.integrations": "aktis.train",
    "ray.air.preprocessor": "aktis.data.preprocessor",
    "ray.air.preprocessors": "aktis.data.preprocessors",
    "ray.air.batch_predictor": "aktis.train.batch_predictor",
    "ray.state": "aktis.util.state",
    "ray.experimental.state": "aktis.util.state",
    "ray.experimental.state.api": "aktis.util.state",
    "ray.experimental.dag": "aktis.dag",
    "ray.experimental.queue": "aktis.util.queue",
    "ray.experimental.multiprocessing": "aktis.util.multiprocessing",
    "ray.experimental.joblib": "aktis.util.joblib",
    "ray.data.dataset_iterator": "aktis.data.iterator",
    "ray.train.data_config": "aktis.train.data_config",
    "ray.tune.suggest.search_generator": "aktis.tune.search.search_generator",
    "ray.tune.suggest.search": "aktis.tune.search.search_algorithm",
    "ray.tune.suggest.repeater": "aktis.tune.search.repeater",
    "ray.tune.schedulers.async_hyperband": "aktis.tune.schedulers.async_hyperband",
}

# Whole modules, and single names, that Aktis leaves out. A reason says what to do instead.
LEFT_OUT = {
    "ray.workflow": "durable workflows are not part of Aktis; graphs of tasks are in aktis.dag, and max_retries retries tasks",
    "ray.util.sgd": "it was replaced by Ray Train; use aktis.train",
    "ray.util.horovod": "Horovod has had no release since 2023; use aktis.train.torch.TorchTrainer",
    "ray.train.horovod": "Horovod has had no release since 2023; use aktis.train.torch.TorchTrainer",
    "ray.train.mosaic": "use Composer's own Trainer in the loop of an aktis.train.torch.TorchTrainer",
    "ray.util.spark": "there are no Spark clusters to start on; read with aktis.data.from_spark",
    "ray.util.client": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.client_builder": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.job_submission": "there is no job server; a job is a program that calls aktis.init()",
    "ray.dashboard": "there is no web page; use the command `aktis`, and metrics for Prometheus",
    "ray.autoscaler": "a session is one machine, which has nothing to scale",
    "ray.cluster_utils": "a session is one machine",
    "ray.cross_language": "workers run Python only",
    "ray._private": "it is Ray's inside, and differs from release to release",
    "ray._raylet": "it is Ray's inside",
    "ray.core": "it is Ray's inside",
    "ray.worker": "it is Ray's inside; aktis.get_runtime_context() has what programs ask of the global worker",
    "ray.tune.cluster_info": "a session is one machine",
    "ray.tune.suggest.dragonfly": "Dragonfly is no longer kept; take optuna, hyperopt or ax",
    "ray.tune.search.dragonfly": "Dragonfly is no longer kept; take optuna, hyperopt or ax",
    "ray.tune.suggest.sigopt": "the service SigOpt was closed; take optuna or ax",
    "ray.tune.search.sigopt": "the service SigOpt was closed; take optuna or ax",
    "ray.rllib.core": "RLModule and RLTrainer were previews in 2.3; write a TorchModelV2 or a policy",
    "ray.rllib.contrib": "third-party algorithms; take one of aktis.rllib.algorithms",
    "ray.rllib.algorithms.ppo.tf": "RLModule and RLTrainer were previews in 2.3; write a TFModelV2 or a policy",
    "ray.rllib.algorithms.ppo.torch": "RLModule and RLTrainer were previews in 2.3; write a TorchModelV2 or a policy",
    "ray.rllib.models.specs": "RLModule and RLTrainer were previews in 2.3; write a TorchModelV2 or a policy",
    "ray.rllib.models.temp_spec_classes": "RLModule and RLTrainer were previews in 2.3; write a TorchModelV2 or a policy",
    "ray.rllib.models.base_model": "RLModule and RLTrainer were previews in 2.3; write a TorchModelV2 or a policy",
    "ray.rllib.models.jax": "policies are for torch and TensorFlow 2",
    "ray.tune.automl": "take a search algorithm: aktis.tune.search",
    "ray.tune.automlboard": "there is no web page; `tune report` writes one, and TensorBoard reads the logs",
    "ray.util.iter": "it was replaced by Ray Data; use aktis.data",
    "ray.util.iter_metrics": "it was replaced by Ray Data; use aktis.data",
    "ray.util.data": "it was replaced by Ray Data; use aktis.data",
    "ray.util.xgboost": "it belongs to the package xgboost_ray; use aktis.train.xgboost.XGBoostTrainer",
    "ray.util.lightgbm": "it belongs to the package lightgbm_ray; use aktis.train.lightgbm.LightGBMTrainer",
    "ray.util.ray_lightning": "it belongs to the package ray_lightning; use aktis.train.lightning.LightningTrainer",
    "ray.tune.sklearn": "it belongs to the package tune_sklearn; use aktis.tune with a function that fits the estimator",
    "ray.util.connect": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.util.disconnect": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.util.client_connect": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.data.dataset.Dataset.to_mars": "Mars has had no release since 2023; use to_pandas or to_arrow_refs",
    "ray.data.from_mars": "Mars has had no release since 2023; use from_pandas or from_arrow",
    "ray.data.read_api.from_mars": "Mars has had no release since 2023; use from_pandas or from_arrow",
    "ray.ray_operator": "a session is one machine",
    "ray.node": "it is Ray's inside",
    "ray.ray_constants": "it is Ray's inside",
    "ray.external_storage": "it is Ray's inside; AKTIS_SPILL_DIR says where objects are spilled to",
    "ray.serve.pipeline": "it was an experiment of 1.x; use .bind() and serve.run()",
    "ray.java_function": "workers run Python only",
    "ray.java_actor_class": "workers run Python only",
    "ray.cpp_function": "workers run Python only",
    "ray.client": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.ClientBuilder": "there is no proxy for remote drivers; a driver runs where its session is",
    "ray.show_in_dashboard": "there is no web page; print, or use aktis.util.metrics",
}
_ALGORITHM = (
    "this algorithm is not part of Aktis; aktis.rllib.algorithms has A2C, A3C, APPO, BC, DQN, ES, IMPALA, MARWIL, PG, PPO, SAC and "
    "SimpleQ"
)
_ALGORITHMS = {
    "alpha_star", "alpha_zero", "apex_ddpg", "apex_dqn", "ars", "bandit", "cql", "crr", "ddpg", "ddppo", "dreamer", "dt",
    "leela_chess_zero", "maddpg", "maml", "mbmpo", "qmix", "r2d2", "random_agent", "slateq", "td3",
}  # fmt: skip
LEFT_OUT |= {f"ray.rllib.{parent}.{name}": _ALGORITHM for parent in ("algorithms", "agents") for name in _ALGORITHMS}
LEFT_OUT |= {
    f"ray.rllib.agents.{name}": _ALGORITHM
    for name in (
        "dqn.ApexDQNConfig", "dqn.ApexTrainer", "dqn.APEX_DEFAULT_CONFIG", "dqn.R2D2Config", "dqn.R2D2TFPolicy",
        "dqn.R2D2TorchPolicy",
        "dqn.R2D2Trainer", "dqn.R2D2_DEFAULT_CONFIG", "dqn.apex", "dqn.r2d2", "dqn.r2d2_tf_policy", "dqn.r2d2_torch_policy",
        "ppo.DDPPOConfig", "ppo.DDPPOTrainer", "ppo.ddppo", "sac.RNNSACTorchPolicy", "sac.RNNSACTrainer",
        "sac.RNNSAC_DEFAULT_CONFIG",
        "sac.rnnsac", "sac.rnnsac_torch_model", "sac.rnnsac_torch_policy",
    )
}  # fmt: skip
LEFT_OUT |= {
    f"ray.rllib.algorithms.sac.{name}": _ALGORITHM
    for name in (
        "RNNSAC", "RNNSACConfig", "RNNSACTorchPolicy", "RNNSAC_DEFAULT_CONFIG", "rnnsac", "rnnsac_torch_model",
        "rnnsac_torch_policy",
    )
}  # fmt: skip
_TF1 = "it is a graph of TensorFlow 1, which is no more; the eager policy (TF2) and the one for torch are there"
LEFT_OUT |= {
    f"ray.rllib.{place}": _TF1
    for place in (
        "agents.dqn.DQNTFPolicy", "agents.dqn.SimpleQTF1Policy", "agents.es.ESTFPolicy", "agents.marwil.MARWILTF1Policy",
        "agents.ppo.APPOTF1Policy", "agents.ppo.PPOTF1Policy", "agents.sac.SACTFPolicy", "algorithms.appo.APPOTF1Policy",
        "algorithms.dqn.DQNTFPolicy", "algorithms.es.ESTFPolicy", "algorithms.es.es_tf_policy", "algorithms.impala.ImpalaTF1Policy",
        "algorithms.marwil.MARWILTF1Policy", "algorithms.pg.PGTF1Policy", "algorithms.ppo.PPOTF1Policy",
        "algorithms.sac.SACTFPolicy", "algorithms.simple_q.SimpleQTF1Policy",
    )
}  # fmt: skip

# Names of Ray's that are attributes here by another name: "ray.module.name" -> "module:name".
NAMES = {
    "ray.ObjectID": "aktis:ObjectRef",
    "ray.actor.ActorClassInheritanceException": "builtins:TypeError",
    "ray.LOCAL_MODE": "aktis.compat._stand_ins:LOCAL_MODE",
    "ray.SCRIPT_MODE": "aktis.compat._stand_ins:SCRIPT_MODE",
    "ray.WORKER_MODE": "aktis.compat._stand_ins:WORKER_MODE",
    "ray.ml.trainer.Trainer": "aktis.train.base_trainer:BaseTrainer",
    "ray.types.ObjectRef": "aktis:ObjectRef",
    "ray.profile": "aktis.compat._stand_ins:profile",
    "ray.profiling": "aktis.compat._stand_ins:profiling",
}


def counterpart(name: str) -> str:
    """The module of Aktis that a module of Ray is, if it is anywhere: ``"ray.tune.tuner"`` is ``"aktis.tune.tuner"``."""
    prefix = name
    while prefix:
        if prefix in MOVED:
            return MOVED[prefix] + name[len(prefix) :]
        prefix = prefix.rpartition(".")[0]
    return "aktis" + name[len("ray") :]


def reason_for(name: str) -> str:
    """Why something was left out: of the name itself, or of what it is in. Empty if nobody decided so."""
    prefix = name
    while prefix:
        if prefix in LEFT_OUT:
            return LEFT_OUT[prefix]
        prefix = prefix.rpartition(".")[0]
    if any(part.startswith("_") and not part.startswith("__") for part in name.split(".")):
        return "names that begin with an underscore are Ray's inside"
    return ""
