"""What a TensorFlow training loop calls."""

from __future__ import annotations

from typing import Any

from aktis.air import session_host
from aktis.train.tensorflow._libraries import require_tensorflow

__all__ = ["prepare_dataset_shard"]


def prepare_dataset_shard(tf_dataset_shard: Any) -> Any:
    """A ``tf.data.Dataset`` that TensorFlow will not divide among the workers once more, since it is a worker's part already.

    Args:
        tf_dataset_shard: A ``tf.data.Dataset`` of one worker, such as ``session.get_dataset_shard("train").to_tf(...)``.

    Raises:
        TypeError: it is something else.
    """
    tensorflow = require_tensorflow()
    if not isinstance(tf_dataset_shard, tensorflow.data.Dataset):
        raise TypeError(
            f"prepare_dataset_shard needs a tf.data.Dataset, not {type(tf_dataset_shard).__name__}: "
            'make one with session.get_dataset_shard("train").to_tf(feature_columns, label_columns)'
        )
    if tf_dataset_shard.cardinality() >= 0 and _has_others():
        # The strategy makes a batch for each worker of each batch here, but TensorFlow still counts as before, so that
        # model.fit would leave out the rest of the shard. Of what was filtered it knows no count, and goes to the end.
        tf_dataset_shard = tf_dataset_shard.filter(lambda *_: True)
    options = tensorflow.data.Options()
    options.experimental_distribute.auto_shard_policy = tensorflow.data.experimental.AutoShardPolicy.OFF
    return tf_dataset_shard.with_options(options)


def _has_others() -> bool:
    host = session_host.current()
    return host is not None and host.get_world_size() > 1
