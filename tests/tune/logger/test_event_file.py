"""Event files of one's own, read with TensorBoard's parsers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.tune.logger.events import read, scalars

from aktis.tune.logger.event_file import EventFile


def test_numbers_and_distributions_by_name_and_step(tmp_path: Path) -> None:
    file = EventFile(str(tmp_path / "events.out.tfevents.1"), prefix="run/")
    file.write({"loss": 0.5, "text": "x", "nested": {"a": np.float32(2)}, "nothing": float("nan")}, step=1)
    file.write({"text": "nothing to show"}, step=2)
    file.close()
    file.write({"loss": 0.25, "many": [1, 2, 3], "ragged": [[1], [2, 3]]}, step=3)  # opens it again
    file.close()
    assert scalars(str(tmp_path)) == {"run/loss": [(1, 0.5), (3, 0.25)], "run/nested/a": [(1, 2.0)]}
    histograms = {
        v.tag: v.histo.num for event in read(str(tmp_path)) for v in event.summary.value if v.HasField("histo")
    }
    assert histograms == {"run/many": 3.0}
