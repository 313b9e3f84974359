"""Whatever happens to a file of a checkpoint, the error is a ValueError that names it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.ppo import PPOConfig

pytestmark = pytest.mark.torch


def config(**model: Any) -> PPOConfig:
    made = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0, observation_filter="MeanStdFilter")
    return made.training(
        train_batch_size=32, sgd_minibatch_size=32, num_sgd_iter=1, model={"fcnet_hiddens": [8], **model}
    )


@pytest.fixture(scope="module")
def algorithm() -> Any:
    made = config().build()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def saved(algorithm: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    algorithm.train()
    return Path(algorithm.save(str(tmp_path_factory.mktemp("checkpoints"))))


POLICY = "policies/default_policy"
FILES = ["rllib_checkpoint.json", "algorithm_state.json", "arrays.npz", "config.pkl"]
FILES += [f"{POLICY}/{name}" for name in ("policy.json", "spec.pkl", "weights.npz", "optimizer.npz")]


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(5, len(content), 11):
        content[at] ^= 0xFF
    file.write_bytes(content)


def removed(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("damage", [truncated, emptied, flipped, removed])
@pytest.mark.parametrize("file", FILES)
def test_damaged_files_are_named(file: str, damage: Any, saved: Path, algorithm: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    damage(copy / file)
    before = algorithm.get_policy().get_weights()
    with pytest.raises(ValueError, match=r"is damaged|is missing|is no checkpoint|cannot be imported") as raised:
        algorithm.restore(str(copy))
    assert Path(file).name in str(raised.value) or damage is removed
    after = algorithm.get_policy().get_weights()
    assert all((before[key] == after[key]).all() for key in before)


def test_another_model_is_named(saved: Path) -> None:
    other = config(fcnet_hiddens=[9]).build()
    try:
        with pytest.raises(
            ValueError, match=r"does not fit the policy 'default_policy' of this PPO.*\(8, 4\).*from_checkpoint"
        ):
            other.restore(str(saved))
    finally:
        other.stop()


def test_an_algorithm_that_was_stopped_says_so(saved: Path) -> None:
    made = Algorithm.from_checkpoint(str(saved))
    made.stop()
    made.stop()
    for use in (made.train, made.evaluate):
        with pytest.raises(RuntimeError, match=r"after stop\(\): this PPO has no workers"):
            use()


def test_gpus_that_are_not_there() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there are")
    with pytest.raises(
        ValueError, match=r"num_gpus=1, but torch finds no GPU here: set config.resources\(num_gpus=0\)"
    ):
        config().resources(num_gpus=1).build()
