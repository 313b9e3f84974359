"""What a LightningTrainer is to do, put together step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning.pytorch

__all__ = ["LightningConfigBuilder"]

STRATEGIES = ("ddp", "fsdp", "deepspeed")
_NOT_OF_THE_TRAINER = {
    "strategy": "say it with .strategy(name='ddp')",
    "num_nodes": "the ScalingConfig says how many workers there are",
    "devices": "the ScalingConfig says how many workers there are, and whether they have GPUs",
}


class LightningConfigBuilder:
    """Puts together the ``lightning_config`` of a :class:`LightningTrainer`, each part of which a search may vary.

    ::

        config = (
            LightningConfigBuilder()
            .module(Classifier, lr=1e-3)
            .trainer(max_epochs=5)
            .fit_params(datamodule=DigitsData())
            .strategy(name="ddp")
            .checkpointing(monitor="val_loss", save_top_k=1)
            .build()
        )
    """

    def __init__(self) -> None:
        self._module_class: type | None = None
        self._module_init_config: dict[str, Any] = {}
        self._trainer_init_config: dict[str, Any] = {}
        self._trainer_fit_params: dict[str, Any] = {}
        self._strategy_config: dict[str, Any] = {}
        self._model_checkpoint_config: dict[str, Any] = {}

    def module(
        self, cls: type[lightning.pytorch.LightningModule] | None = None, **kwargs: Any
    ) -> LightningConfigBuilder:
        """The class of the module, and the arguments of its constructor.

        Args:
            cls: The class. None: in a ``param_space``, that of the trainer.
            kwargs: The arguments; a search may vary them.
        """
        if cls is not None:
            self._module_class = cls
        self._module_init_config.update(kwargs)
        return self

    def trainer(self, **kwargs: Any) -> LightningConfigBuilder:
        """Arguments of Lightning's ``Trainer``: ``max_epochs``, ``callbacks``, ``accelerator``, ``precision``, ...

        Raises:
            ValueError: one that the LightningTrainer sets itself.
        """
        for name, instead in _NOT_OF_THE_TRAINER.items():
            if name in kwargs and kwargs[name] not in (None, "auto"):
                raise ValueError(
                    f"trainer({name}={kwargs[name]!r}) is not for the workers of a LightningTrainer: {instead}"
                )
        self._trainer_init_config.update(
            {name: value for name, value in kwargs.items() if name not in _NOT_OF_THE_TRAINER}
        )
        return self

    def fit_params(self, **kwargs: Any) -> LightningConfigBuilder:
        """Arguments of ``Trainer.fit``: ``datamodule``, or ``train_dataloaders`` and ``val_dataloaders``.

        They are sent to the workers. The module is not among them: see :meth:`module`.
        """
        if "model" in kwargs:
            raise ValueError(
                "fit_params(model=...): the workers make the module themselves; say its class with .module(cls)"
            )
        self._trainer_fit_params.update(kwargs)
        return self

    def strategy(self, name: str = "ddp", **kwargs: Any) -> LightningConfigBuilder:
        """How the workers train together.

        Args:
            name: "ddp", "fsdp" or "deepspeed".
            kwargs: Arguments of the strategy.

        Raises:
            ValueError: another name.
        """
        if name not in STRATEGIES:
            raise ValueError(f"the strategy must be one of {', '.join(STRATEGIES)}, not {name!r}")
        self._strategy_config = {"_strategy_name": name, **kwargs}
        return self

    def checkpointing(self, **kwargs: Any) -> LightningConfigBuilder:
        """Arguments of Lightning's ``ModelCheckpoint``: ``monitor``, ``mode``, ``save_top_k``, ``every_n_epochs``, ..."""
        self._model_checkpoint_config.update(kwargs)
        return self

    def build(self) -> dict[str, Any]:
        """The configuration.

        Raises:
            TypeError: the class of the module is none of Lightning.
        """
        config = {name: dict(value) for name, value in vars(self).items() if isinstance(value, dict)}
        if not config["_strategy_config"]:
            del config["_strategy_config"]  # in a param_space: that of the trainer
        if self._module_class is None:
            return config
        check_module_class(self._module_class)
        return {"_module_class": self._module_class, **config}


def check_module_class(cls: Any) -> str:
    """The name of the library that a class of modules belongs to.

    Raises:
        TypeError: it is no such class.
    """
    from aktis.train.lightning._library import library_of

    found = library_of(cls) if isinstance(cls, type) else None
    if found is None:
        raise TypeError(f"the module must be a subclass of LightningModule, not {cls!r}")
    return found
