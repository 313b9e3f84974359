"""Plain DistributedDataParallel, without Aktis: what a run of TorchTrainer is compared with, bit for bit.

Run as torchrun runs it: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment; rank 0 prints its losses.
"""

import json

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    features = torch.randn(101, 8)
    dataset = TensorDataset(features, features.sum(1, keepdim=True).sin())
    model = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 1))
    ddp = nn.parallel.DistributedDataParallel(model)
    sampler = DistributedSampler(dataset, shuffle=True)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler)
    optimizer = torch.optim.Adam(ddp.parameters(), lr=0.01)
    losses = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for x, y in loader:
            loss = nn.functional.mse_loss(ddp(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if dist.get_rank() == 0:
        print(json.dumps(losses))
    dist.destroy_process_group()


main()
