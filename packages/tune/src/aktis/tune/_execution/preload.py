"""What every trial needs, imported once, in the process that workers are forked from."""

import aktis.air.checkpoint
import aktis.air.session
import aktis.tune.trainable.host  # noqa: F401
