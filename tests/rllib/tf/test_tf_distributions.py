"""Action distributions in TensorFlow 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow
tf = pytest.importorskip("tensorflow")

from tests.rllib.models.distribution_checks import Checks  # noqa: E402

from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402
from aktis.rllib.models.tf import tf_action_dist  # noqa: E402


class TestTFDistributions(Checks):
    framework = "tf2"

    def tensor(self, x: Any) -> Any:
        return tf.convert_to_tensor(x)

    def array(self, x: Any) -> Any:
        return x.numpy()


def test_samples_have_gradients_and_can_be_traced() -> None:
    for cls in (tf_action_dist.DiagGaussian, tf_action_dist.SquashedGaussian, tf_action_dist.Beta):

        @tf.function
        def gradient(inputs: Any, cls: Any = cls) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                total = tf.reduce_sum(cls(inputs).sample())
            return tape.gradient(total, inputs)

        found = gradient(tf.random.normal((3, 4))).numpy()
        assert np.isfinite(found).all() and np.abs(found).sum() > 0


class Uniform(tf_action_dist.TFActionDistribution):
    """A distribution as users write it."""

    def sample(self) -> Any:
        self.last_sample = tf.random.uniform(tf.shape(self.inputs))
        return self.last_sample

    def logp(self, x: Any) -> Any:
        return tf.zeros((tf.shape(x)[0],))

    @staticmethod
    def required_model_output_shape(action_space: Any, model_config: Any) -> int:
        return int(np.prod(action_space.shape))


def test_a_distribution_of_ones_own() -> None:
    from gymnasium import spaces

    config = {**MODEL_DEFAULTS, "custom_action_dist": Uniform}
    made, size = ModelCatalog.get_action_dist(spaces.Box(-1, 1, (3,)), config, framework="tf2")
    dist = made(np.zeros((2, 3), np.float32))
    assert size == 3 and dist.sample().shape == (2, 3) and dist.sampled_action_logp().shape == (2,)
