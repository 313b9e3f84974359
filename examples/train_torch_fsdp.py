"""A model that no worker has a whole copy of: sharded over two workers, saved in parts, and gone on with on three.

On CPUs this is ``fully_shard`` over gloo, on GPUs FullyShardedDataParallel over NCCL; the loop is the same.

Run: python examples/train_torch_fsdp.py
Needs: pip install "aktis-train[torch]"
Prints: what each worker holds, and the error of the model when it is read as a whole.
"""

from __future__ import annotations

import os
import tempfile

import torch
from torch import nn
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

import aktis
from aktis import air, train
from aktis.air import session
from aktis.train.torch import TorchTrainer, distributed_checkpoint

STEPS = 20


class Block(nn.Module):
    """The unit that is gathered for its computation, and let go again."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.inner = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(self.norm(x))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), *(Block(64) for _ in range(4)), nn.Linear(64, 1))


def train_loop() -> None:
    """Runs in each worker."""
    model = train.torch.prepare_model(
        network(),
        parallel_strategy="fsdp",
        parallel_strategy_kwargs={"auto_wrap_policy": ModuleWrapPolicy({Block})},
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    done = 0
    if checkpoint := session.get_checkpoint():
        done = distributed_checkpoint.load(checkpoint, model, optimizer)["steps"]
    device = train.torch.get_device()
    generator = torch.Generator().manual_seed(done + session.get_world_rank())
    for _ in range(STEPS):
        x = torch.randn(64, 16, generator=generator).to(device)
        loss = (model(x) - x.prod(dim=1, keepdim=True).tanh() - x.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    here = sum(getattr(value, "to_local", lambda v=value: v)().numel() for value in model.state_dict().values())
    with tempfile.TemporaryDirectory() as directory:
        saved = distributed_checkpoint.save(directory, model, optimizer, extra={"steps": done + STEPS})
        session.report({"loss": loss.item(), "steps": done + STEPS, "numbers": here}, checkpoint=saved)


def run(workers: int, results_dir: str, checkpoint: air.Checkpoint | None = None) -> air.Result:
    trainer = TorchTrainer(
        train_loop,
        scaling_config=air.ScalingConfig(num_workers=workers),
        run_config=air.RunConfig(name=f"on_{workers}", local_dir=results_dir, verbose=0),
        resume_from_checkpoint=checkpoint,
    )
    result = trainer.fit()
    metrics = result.metrics
    assert metrics is not None and result.checkpoint is not None
    total = sum(value.numel() for value in network().state_dict().values())
    parts = [name for name in os.listdir(result.checkpoint.path or "") if name.endswith(".distcp")]
    print(
        f"{workers} workers: loss {metrics['loss']:.2f} after {metrics['steps']} steps; each holds {metrics['numbers']:,} "
        f"of {total:,} numbers; the checkpoint has {len(parts)} parts"
    )
    assert metrics["numbers"] < 0.6 * total
    return result


def main() -> None:
    aktis.init(num_cpus=4)  # three workers at most, and the trainer
    with tempfile.TemporaryDirectory() as results_dir:
        first = run(2, results_dir)
        second = run(3, results_dir, first.checkpoint)
        assert second.metrics is not None and second.metrics["steps"] == 2 * STEPS

        whole = network()  # in this process, without any workers
        distributed_checkpoint.load(second.checkpoint, whole)  # type: ignore[arg-type]
        with torch.no_grad():
            x = torch.randn(1000, 16)
            error = (whole(x) - x.prod(dim=1, keepdim=True).tanh() - x.sum(dim=1, keepdim=True)).square().mean().item()
        print(f"read here as a whole: error {error:.2f}")
    aktis.shutdown()


if __name__ == "__main__":
    main()
