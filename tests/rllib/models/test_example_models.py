"""The example models in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from aktis.rllib.examples.models.action_mask_model import TorchActionMaskModel  # noqa: E402
from aktis.rllib.examples.models.rnn_model import TorchRNNModel  # noqa: E402
from aktis.rllib.examples.models.shared_weights_model import TorchSharedWeightsModel  # noqa: E402
from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402

MASKED = spaces.Dict(observations=spaces.Box(-1, 1, (4,)), action_mask=spaces.Box(0, 1, (3,), np.int8))


def model_of(cls: Any, obs_space: Any, **custom: Any) -> Any:
    config = {"custom_model": cls, "custom_model_config": custom, "fcnet_hiddens": [8]}
    preprocessor = ModelCatalog.get_preprocessor_for_space(obs_space)
    return ModelCatalog.get_model_v2(preprocessor.observation_space, spaces.Discrete(3), 3, config), preprocessor


def test_masked_actions_are_never_chosen() -> None:
    model, preprocessor = model_of(TorchActionMaskModel, MASKED)
    row = preprocessor.transform(
        {"observations": np.full(4, 0.5, np.float32), "action_mask": np.array([1, 0, 1], np.int8)}
    )
    out, _ = model({"obs": torch.as_tensor(row).repeat(200, 1)})
    made, _ = ModelCatalog.get_action_dist(spaces.Discrete(3), MODEL_DEFAULTS)
    dist = made(out, model)
    assert set(dist.sample().tolist()) == {0, 2}
    loss = dist.entropy().mean() + dist.logp(torch.zeros(200, dtype=torch.int64)).mean() + model.value_function().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    free, _ = model_of(TorchActionMaskModel, MASKED, no_masking=True)
    assert (free({"obs": torch.as_tensor(row)[None]})[0] > -100).all()
    with pytest.raises(ValueError, match="'observations' and 'action_mask'"):
        model_of(TorchActionMaskModel, spaces.Box(-1, 1, (4,)))


def test_memory() -> None:
    model, _ = model_of(TorchRNNModel, spaces.Box(-1, 1, (4,)), lstm_state_size=16)
    state = [torch.as_tensor(s).expand(2, 16) for s in model.get_initial_state()]
    out, state = model({"obs": torch.randn(6, 4)}, state, torch.tensor([3, 3]))
    assert out.shape == (6, 3) and model.value_function().shape == (6,) and state[0].shape == (2, 16)


def test_a_shared_layer() -> None:
    one, _ = model_of(TorchSharedWeightsModel, spaces.Box(-1, 1, (4,)))
    two, _ = model_of(TorchSharedWeightsModel, spaces.Box(-1, 1, (5,)))
    assert one.global_shared_layer is two.global_shared_layer and one.first_layer is not two.first_layer
    assert one({"obs": torch.randn(2, 4)})[0].shape == (2, 3) and one.value_function().shape == (2,)


def test_the_package_is_lazy() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from aktis.rllib.models import MODEL_DEFAULTS, ModelCatalog, Preprocessor\n"
        "import aktis.rllib.examples.models.action_mask_model, aktis.rllib.models._distributions\n"
        "assert not {'torch', 'tensorflow', 'pandas', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
