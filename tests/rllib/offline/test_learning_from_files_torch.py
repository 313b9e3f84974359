"""Algorithms that learn from recorded experience, and write theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from aktis.rllib.algorithms.bc import BCConfig  # noqa: E402
from aktis.rllib.algorithms.callbacks import DefaultCallbacks  # noqa: E402
from aktis.rllib.algorithms.dqn import DQNConfig  # noqa: E402
from aktis.rllib.algorithms.marwil import MARWILConfig  # noqa: E402
from aktis.rllib.algorithms.pg import PGConfig  # noqa: E402
from aktis.rllib.algorithms.sac import SACConfig  # noqa: E402
from aktis.rllib.examples.env.multi_agent import MultiAgentCartPole  # noqa: E402
from aktis.rllib.offline import EpisodeRecorder, InputReader, JsonReader, JsonWriter, OfflineDataError  # noqa: E402
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch  # noqa: E402
from aktis.tune.registry import register_input  # noqa: E402

DATA = Path(__file__).parent / "data"
CARTPOLE = "tuned_examples/data/cartpole.json"  # of the package
BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)


def small(config: Any, hiddens: int = 16, **model: Any) -> Any:
    config.framework("torch").rollouts(num_rollout_workers=0, rollout_fragment_length=20).debugging(seed=3)
    config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=0)
    return config.training(model={"fcnet_hiddens": [hiddens], **model})


def bc(**spaces: Any) -> Any:
    """Behaviour cloning without an environment."""
    config = small(BCConfig()).training(train_batch_size=40, lr=0.01)
    return config.environment(
        observation_space=spaces.get("obs", BOX), action_space=spaces.get("act", gym.spaces.Discrete(2))
    )


@pytest.fixture
def build() -> Any:
    made = []

    def build(config: Any) -> Any:
        made.append(config.build())
        return made[-1]

    yield build
    for algorithm in made:
        algorithm.stop()


def recorded(folder: Path, **columns: Any) -> str:
    """A file of one batch; None leaves a column out."""
    usual = {
        "obs": np.random.default_rng(0).uniform(-1, 1, (30, 3)).astype(np.float32),
        "actions": np.arange(30) % 2,
        "rewards": np.ones(30, np.float32),
        "terminateds": np.arange(30) % 10 == 9,
    }
    with JsonWriter(folder) as writer:
        writer.write(SampleBatch({key: column for key, column in {**usual, **columns}.items() if column is not None}))
    return str(folder)


# -- learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [BCConfig(), MARWILConfig()])
def test_imitation_makes_recorded_actions_likely(config: Any, build: Any) -> None:
    algorithm = build(
        small(config.environment("CartPole-v1"), 32)
        .training(train_batch_size=500, lr=0.005)
        .offline_data(input_=CARTPOLE)
    )
    good = max(JsonReader(CARTPOLE).read_all_files(), key=len)  # an episode of 500 steps

    def likelihood() -> float:
        return float(algorithm.get_policy().compute_log_likelihoods(good["actions"], good["obs"]).mean())

    before = likelihood()
    for _ in range(12):
        result = algorithm.train()
    assert likelihood() > before + 0.05
    assert result["num_env_steps_trained"] >= 6000
    assert np.isnan(result["episode_reward_mean"])  # nobody has played


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bc", "marwil"])
def test_the_tuned_examples_reach_their_return(name: str, build: Any) -> None:
    import yaml

    import aktis.rllib.tuned_examples as examples
    from aktis.rllib.algorithms.registry import get_algorithm_class

    (folder,) = examples.__path__
    (spec,) = yaml.safe_load((Path(folder) / name / f"cartpole-{name}.yaml").read_text()).values()
    _, config = get_algorithm_class(spec["run"], return_config=True)
    config.update_from_dict(spec["config"]).environment(spec["env"]).debugging(seed=1).reporting(
        min_time_s_per_iteration=0
    )
    algorithm = build(config)
    result: dict[str, Any] = {"timesteps_total": 0}
    best = 0.0
    while best < spec["pass_criteria"]["evaluation/episode_reward_mean"]:
        assert result["timesteps_total"] < spec["stop"]["timesteps_total"], f"the best evaluation was {best}"
        result = algorithm.train()
        best = max(best, result.get("evaluation", {}).get("episode_reward_mean", 0.0))


@pytest.mark.parametrize("config", [DQNConfig().training(n_step=3, hiddens=[8]), SACConfig()])
def test_algorithms_with_a_replay_buffer(config: Any, build: Any) -> None:
    config = small(config).training(train_batch_size=32, num_steps_sampled_before_learning_starts=100)
    algorithm = build(
        config.environment("CartPole-v1").offline_data(input_=CARTPOLE, postprocess_inputs=True, shuffle_buffer_size=4)
    )
    before = {name: value.copy() for name, value in algorithm.get_policy().get_weights().items()}
    for _ in range(4):
        algorithm.train()
    after = algorithm.get_policy().get_weights()
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_continuous_actions_are_brought_to_the_range_of_the_policy(tmp_path: Path, build: Any) -> None:
    env = gym.make("Pendulum-v1")
    env.action_space.seed(1)
    with EpisodeRecorder(tmp_path) as recorder:
        recorder.record(env, lambda obs: env.action_space.sample(), seed=1)
    env.close()
    config = small(SACConfig()).training(train_batch_size=32, num_steps_sampled_before_learning_starts=50)
    config.environment("Pendulum-v1").offline_data(input_=str(tmp_path))
    algorithm = build(config)
    algorithm.train()
    (raw,) = JsonReader(tmp_path).read_all_files()
    read = algorithm.workers.local_worker().sample()
    assert raw["actions"].max() > 1.5
    assert read["actions"] == pytest.approx(raw["actions"] / 2.0, abs=1e-6)
    as_it_is = build(config.copy(copy_frozen=False).offline_data(actions_in_input_normalized=True))
    assert np.array_equal(as_it_is.workers.local_worker().sample()["actions"], raw["actions"])


def test_files_of_rllib_are_learned_from(build: Any) -> None:
    config = small(MARWILConfig().environment("CartPole-v1")).training(train_batch_size=28)
    algorithm = build(config.offline_data(input_=str(DATA / "ray-2.3-plain.json")))
    assert algorithm.train()["num_env_steps_trained"] >= 28


class Endless(InputReader):
    """Episodes of two steps."""

    def next(self) -> SampleBatch:
        ends = {"terminateds": np.array([False, True]), "rewards": np.array([1.0, 2.0], np.float32)}
        return SampleBatch(obs=np.zeros((2, 3), np.float32), actions=np.zeros(2, int), **ends)


def test_a_reader_of_ones_own_is_post_processed(build: Any) -> None:
    config = small(MARWILConfig()).environment(observation_space=BOX, action_space=gym.spaces.Discrete(2))
    algorithm = build(config.training(train_batch_size=10, gamma=0.5).offline_data(input_=lambda ioctx: Endless()))
    assert algorithm.workers.local_worker().sample()["advantages"][:4].tolist() == [2.0, 2.0, 2.0, 2.0]
    algorithm.train()
    mixed = config.copy(copy_frozen=False).offline_data(input_={"tests.not_there": 0.0, "endless": 1.0})
    register_input("endless", lambda ioctx: Endless())
    register_input("tests.not_there", lambda ioctx: Endless())
    assert "advantages" in build(mixed).workers.local_worker().sample()


def test_a_custom_loss_that_imitates_a_file(build: Any) -> None:
    from aktis.rllib.examples.models.custom_loss_model import TorchCustomLossModel

    pytest.importorskip("lz4")
    model = {
        "custom_model": TorchCustomLossModel,
        "custom_model_config": {"input_files": str(DATA / "ray-2.3-packed.json")},
    }
    algorithm = build(small(PGConfig(), **model).environment("CartPole-v1").training(train_batch_size=20))
    assert algorithm.train()["info"]["learner"]["default_policy"]["model"]["imitation_loss"] > 0


def test_memories_begin_empty(build: Any) -> None:
    config = small(MARWILConfig().environment("CartPole-v1"), use_lstm=True, lstm_cell_size=8, max_seq_len=5)
    algorithm = build(config.training(train_batch_size=60).offline_data(input_=CARTPOLE))
    batch = algorithm.workers.local_worker().sample()
    assert batch["state_in_0"].shape == (batch.count, 8) and not batch["state_in_0"].any()
    assert np.isfinite(algorithm.train()["info"]["learner"]["default_policy"]["learner_stats"]["total_loss"])


def test_experience_of_an_environment_and_of_a_file(build: Any) -> None:
    config = small(DQNConfig()).training(train_batch_size=16, num_steps_sampled_before_learning_starts=20)
    config.environment("CartPole-v1").offline_data(input_={"sampler": 0.5, CARTPOLE: 0.5})
    algorithm = build(config)
    worker = algorithm.workers.local_worker()
    batches = [worker.sample() for _ in range(12)]
    assert worker.get_metrics() and any(batch.count > 25 for batch in batches)  # recorded episodes are whole
    algorithm.train()


# -- MARWIL's numbers ----------------------------------------------------------------------------------------------------


def test_returns_of_recorded_trajectories(tmp_path: Path, build: Any) -> None:
    path = recorded(
        tmp_path,
        obs=np.ones((5, 3), np.float32),
        new_obs=np.full((5, 3), 0.5, np.float32),
        actions=np.zeros(5, int),
        rewards=np.arange(5, dtype=np.float32),
        terminateds=np.array([False, True, False, False, False]),
        eps_id=np.array([0, 0, 1, 1, 1]),
        t=np.array([0, 1, 3, 4, 7]),  # steps 5 and 6 are elsewhere
    )
    config = (
        small(MARWILConfig())
        .training(gamma=0.5)
        .environment(observation_space=BOX, action_space=gym.spaces.Discrete(2))
    )
    policy = build(config.offline_data(input_=path)).get_policy()
    follows = float(policy.compute_values({"obs": np.full((1, 3), 0.5, np.float32)})[0])
    algorithm = build(config)
    assert follows != 0
    batch = algorithm.workers.local_worker().sampler.reader.next()
    expected = [0 + 0.5 * 1, 1, 2 + 0.5 * 3 + 0.25 * follows, 3 + 0.5 * follows, 4 + 0.5 * follows]
    assert batch["advantages"] == pytest.approx(expected, abs=1e-5)
    plain = build(config.copy(copy_frozen=False).training(use_gae=False)).workers.local_worker().sampler.reader.next()
    assert plain["advantages"] == pytest.approx([0.5, 1, 3.5, 3, 4])


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_the_loss_is_that_of_the_paper(beta: float, tmp_path: Path, build: Any) -> None:
    config = small(MARWILConfig()).environment(observation_space=BOX, action_space=gym.spaces.Discrete(2))
    config.training(
        beta=beta, vf_coeff=0.3, moving_average_sqd_adv_norm_start=4.0, moving_average_sqd_adv_norm_update_rate=0.25
    )
    policy = build(config.offline_data(input_=recorded(tmp_path))).get_policy()
    rng = np.random.default_rng(1)
    obs, actions = rng.uniform(-1, 1, (6, 3)).astype(np.float32), rng.integers(0, 2, 6)
    returns = rng.normal(0, 3, 6).astype(np.float32)
    logp = policy.compute_log_likelihoods(actions, obs)
    advantages = returns - policy.compute_values({"obs": obs})
    stats = policy.learn_on_batch(SampleBatch(obs=obs, actions=actions, advantages=returns))["learner_stats"]
    expected = -np.mean(np.exp(beta * advantages / 2.0) * logp)
    assert stats["policy_loss"] == pytest.approx(expected, rel=1e-4)
    if beta:
        square = np.mean(advantages**2)
        assert stats["vf_loss"] == pytest.approx(0.5 * square, rel=1e-4)
        assert stats["total_loss"] == pytest.approx(expected + 0.3 * 0.5 * square, rel=1e-4)
        assert stats["moving_average_sqd_adv_norm"] == pytest.approx(4.0 + 0.25 * (square - 4.0), rel=1e-4)
        assert policy.get_state()["scalars"]["mean_square_advantage"] == pytest.approx(
            stats["moving_average_sqd_adv_norm"]
        )


def test_the_critic_does_not_please_the_policy(tmp_path: Path, build: Any) -> None:
    config = small(MARWILConfig(), vf_share_layers=False).environment(
        observation_space=BOX, action_space=gym.spaces.Discrete(2)
    )
    policy = build(config.training(vf_coeff=0.0).offline_data(input_=recorded(tmp_path))).get_policy()
    obs = np.random.default_rng(1).uniform(-1, 1, (6, 3)).astype(np.float32)
    values, actions = policy.compute_values({"obs": obs}).copy(), np.arange(6) % 2
    policy.learn_on_batch(SampleBatch(obs=obs, actions=actions, advantages=np.ones(6, np.float32)))
    assert np.array_equal(policy.compute_values({"obs": obs}), values)


def test_a_bonus_for_wide_policies(tmp_path: Path, build: Any) -> None:
    spaces = {"observation_space": BOX, "action_space": gym.spaces.Box(-1.0, 1.0, (2,), np.float32)}
    path = recorded(tmp_path, actions=np.random.default_rng(0).uniform(-1, 1, (30, 2)).astype(np.float32))
    losses = []
    for coeff in (0.0, 0.5):
        config = small(BCConfig()).environment(**spaces).training(bc_logstd_coeff=coeff).offline_data(input_=path)
        policy = build(config).get_policy()
        weights = {key: np.full_like(value, 0.1) for key, value in policy.get_weights().items()}
        policy.set_weights(weights)
        obs = np.ones((4, 3), np.float32)
        batch = SampleBatch(obs=obs, actions=np.zeros((4, 2), np.float32))
        log_std = np.asarray(policy.compute_actions(obs, explore=False)[2]["action_dist_inputs"])[:, 2:]
        losses.append(policy.learn_on_batch(batch)["learner_stats"]["policy_loss"])
    assert losses[1] == pytest.approx(losses[0] - 0.5 * float(log_std.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1.0}, "beta"),
        ({"moving_average_sqd_adv_norm_start": 0.0}, "start"),
        ({"moving_average_sqd_adv_norm_update_rate": 2.0}, "rate"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MARWILConfig().training(**settings).validate()
    with pytest.raises(ValueError, match="postprocess_inputs=True"):
        MARWILConfig().offline_data(input_="x", postprocess_inputs=False).validate()
    with pytest.raises(ValueError, match="beta=0"):
        BCConfig().training(beta=1.0, moving_average_sqd_adv_norm_start=1.0).validate()


# -- writing -------------------------------------------------------------------------------------------------------------


class Keeps(DefaultCallbacks):
    """Remembers what was sampled."""

    batches: list[Any] = []

    def on_sample_end(self, *, worker: Any, samples: Any, **kwargs: Any) -> None:
        self.batches.append(samples.copy())


def same(one: Any, other: Any) -> bool:
    if isinstance(one, MultiAgentBatch):
        return one.count == other.count and all(same(one[key], other[key]) for key in one.keys() | other.keys())
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and np.array_equal(one[key], other[key]) for key in one if key != "infos"
    )


@pytest.mark.parametrize("several", [False, True])
def test_what_training_writes_is_what_was_sampled(several: bool, tmp_path: Path, build: Any) -> None:
    config = small(PGConfig()).training(train_batch_size=40).callbacks(Keeps)
    if several:
        config.environment(MultiAgentCartPole, env_config={"num_agents": 2})
        config.multi_agent(policies={"p0", "p1"}, policy_mapping_fn=lambda agent_id, *args, **kwargs: f"p{agent_id}")
    else:
        config.environment("CartPole-v1")
    config.offline_data(output=str(tmp_path)).evaluation(evaluation_interval=1, evaluation_duration=1)
    Keeps.batches = []
    algorithm = build(config)
    algorithm.train()
    algorithm.train()
    written = list(JsonReader(tmp_path).read_all_files())
    steps = sum(batch.count for batch in written)
    for batch in written:  # others can learn from it
        assert all("new_obs" in part for part in batch.as_multi_agent().policy_batches.values())
    assert steps == algorithm._counters["num_env_steps_sampled"]  # the evaluation has not written
    kept = [batch for batch in Keeps.batches if any(same(batch, one) for one in written)]
    assert len(kept) == len(written) == 4


def test_several_policies_learn_from_a_file(build: Any) -> None:
    config = (
        small(MARWILConfig()).environment(MultiAgentCartPole, env_config={"num_agents": 2}).training(train_batch_size=8)
    )
    policies = {"policies": {"p0", "p1"}, "policy_mapping_fn": lambda agent_id, *args, **kwargs: f"p{agent_id}"}
    pytest.importorskip("lz4")
    path = str(DATA / "ray-2.3-multi-agent.json")
    algorithm = build(config.multi_agent(**policies).offline_data(input_=path))
    assert set(algorithm.train()["info"]["learner"]) == {"p0", "p1"}
    with pytest.raises(OfflineDataError, match=r"line 1: this is experience of the policy 'p[01]'"):
        build(small(MARWILConfig()).environment("CartPole-v1").offline_data(input_=path)).train()


def test_files_beside_the_results(build: Any) -> None:
    config = (
        small(PGConfig())
        .environment("CartPole-v1")
        .training(train_batch_size=20)
        .offline_data(output="logdir", output_max_file_size=1)
    )
    algorithm = build(config)
    algorithm.train()
    algorithm.train()
    assert len(list(Path(algorithm.logdir).glob("output-*.json"))) == 2


# -- evaluation ----------------------------------------------------------------------------------------------------------


def test_evaluation_by_recorded_experience(build: Any) -> None:
    config = (
        small(BCConfig().environment("CartPole-v1"))
        .training(train_batch_size=100, gamma=0.9)
        .offline_data(input_=CARTPOLE)
    )
    config.evaluation(
        evaluation_interval=1,
        evaluation_duration=10,
        evaluation_config={"input_": CARTPOLE},
        off_policy_estimation_methods={
            name: {"type": name} for name in ("ImportanceSampling", "WeightedImportanceSampling", "dm", "dr")
        },
    )
    found = build(config).train()["evaluation"]["off_policy_estimator"]
    assert set(found) == {"ImportanceSampling", "WeightedImportanceSampling", "dm", "dr"}
    assert 5 < found["ImportanceSampling"]["v_behavior"] < 10  # up to 10 with a discount of 0.9
    assert all(np.isfinite(list(values.values())).all() for values in found.values())
    assert found["dm"]["train_loss"] > 0


# -- what does not fit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "spaces", "message"),
    [
        ({"actions": None}, {}, r"line 1: the columns \['actions'\] are missing"),
        ({"obs": np.zeros((30, 2))}, {}, r"line 1: obs have the shape \(2,\) .* Box\(-1.0, 1.0, \(3,\)"),
        ({"actions": np.full(30, 2)}, {}, r"line 1: the action .*2.* is not in the action space Discrete\(2\)"),
        ({"actions": np.zeros((30, 2))}, {}, r"line 1: actions have the shape \(2,\)"),
        ({"actions": np.full(30, 0.5)}, {}, r"line 1: the action .*0\.5.* is not in"),
        ({}, {"obs": gym.spaces.Dict({"a": BOX})}, None),
        ({"obs": {"b": np.zeros((30, 3))}}, {"obs": gym.spaces.Dict({"a": BOX})}, r"line 1: obs have the shape"),
    ],
)
def test_experience_of_other_spaces(columns: Any, spaces: Any, message: str | None, tmp_path: Path, build: Any) -> None:
    algorithm = build(bc(**spaces).offline_data(input_=recorded(tmp_path, **columns)))
    if message is None:  # flat already, as workers write it
        algorithm.train()
        return
    with pytest.raises(OfflineDataError, match=message):
        algorithm.train()


def test_rewards_and_ends_are_needed_but_for_imitation(tmp_path: Path, build: Any) -> None:
    path = recorded(tmp_path, rewards=None, terminateds=None)
    assert build(bc().offline_data(input_=path)).train()["num_env_steps_trained"] >= 40
    spaces = {"observation_space": BOX, "action_space": gym.spaces.Discrete(2)}
    with pytest.raises(OfflineDataError, match=r"\['rewards', 'terminateds'\] are missing, which MARWILTorchPolicy"):
        build(small(MARWILConfig()).environment(**spaces).offline_data(input_=path)).train()
    with pytest.raises(OfflineDataError, match=r"\['rewards', 'terminateds', 'new_obs'\] are missing, which DQN"):
        build(small(DQNConfig()).environment(**spaces).offline_data(input_=path)).train()


def test_observations_as_the_environment_gives_them(tmp_path: Path, build: Any) -> None:
    nested = gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.Box(0, 1, (2,), np.float32)})
    columns = {"a": np.arange(30) % 3, "b": np.full((30, 2), 0.5)}
    for number, (space, obs, first) in enumerate(
        [(gym.spaces.Discrete(4), np.arange(30) % 4, [1, 0, 0, 0]), (nested, columns, [1, 0, 0, 0.5, 0.5])]
    ):
        algorithm = build(bc(obs=space).offline_data(input_=recorded(tmp_path / str(number), obs=obs)))
        batch = algorithm.workers.local_worker().sample()
        assert batch["obs"][0].tolist() == first and batch["obs"].dtype == np.float32
        algorithm.train()


def test_older_files_say_dones(tmp_path: Path, build: Any) -> None:
    done = np.arange(30) % 10 == 9
    batch = (
        build(bc().offline_data(input_=recorded(tmp_path, terminateds=None, dones=done)))
        .workers.local_worker()
        .sample()
    )
    assert np.array_equal(dict(batch)["terminateds"], done) and not batch["truncateds"].any()
    assert batch["eps_id"].tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_files_that_are_not_there_are_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        bc().offline_data(input_=str(tmp_path / "nothing.json")).build()
