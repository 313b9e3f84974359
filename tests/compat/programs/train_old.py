"""The Trainer of Ray 1.9, with a backend of its own."""

import sys

import ray
from ray import train
from ray.train import Trainer
from ray.train.backend import Backend, BackendConfig

ray.init(num_cpus=4, log_to_driver=False)


class NothingBackend(Backend):
    pass


class NothingConfig(BackendConfig):
    @property
    def backend_cls(self):
        return NothingBackend


def train_func(config):
    for epoch in range(2):
        train.report(epoch=epoch, loss=config["lr"] / (epoch + 1), rank=train.world_rank())
    train.save_checkpoint(epoch=1)
    return train.world_size()


trainer = Trainer(backend=NothingConfig(), num_workers=2, logdir=sys.argv[1])
trainer.start()
print("sizes", trainer.run(train_func, config={"lr": 1.0}))
print("checkpoint", trainer.latest_checkpoint["epoch"])
trainer.shutdown()
