"""What every training run needs, imported once, in the process that workers are forked from."""

import aktis.air.checkpoint
import aktis.air.session
import aktis.train._execution.run
import aktis.train._execution.session
import aktis.train._execution.worker
import aktis.train._predict.scoring
import aktis.train.context
import aktis.train.data_parallel_trainer
import aktis.tune.trainable.host  # noqa: F401
