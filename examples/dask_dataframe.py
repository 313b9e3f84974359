"""Dask on Aktis: a data frame and an array are computed by tasks, in the same session as everything else.

``enable_dask_on_aktis()`` makes Aktis the scheduler of all of Dask; ``persist()`` leaves the partitions in shared memory, where
later computations read them. Data: the measurements of scikit-learn's wines, often enough to fill partitions.

Run: python examples/dask_dataframe.py
Needs: pip install "aktis-core[dask]" "dask[dataframe]" scikit-learn
Prints: means by kind of wine, which columns go together most, and that pandas finds the same.
"""

from __future__ import annotations

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

import aktis
from aktis.util.dask import aktis_dask_get, enable_dask_on_aktis

COPIES, PARTITIONS = 100, 4
COLUMNS = ["alcohol", "flavanoids", "proline"]


@dask.delayed
def spread(column: pd.Series) -> float:
    return float(column.max() - column.min())


def main() -> None:
    wine = load_wine(as_frame=True).frame.rename(columns={"target": "kind"})
    pandas_frame = pd.concat([wine] * COPIES, ignore_index=True)
    with aktis.init(), enable_dask_on_aktis():
        frame = dask.dataframe.from_pandas(pandas_frame, npartitions=PARTITIONS).persist()
        means = frame.groupby("kind")[COLUMNS].mean().compute().sort_index()
        strong = frame[frame.alcohol > 14].kind.value_counts().compute().sort_index()

        values = dask.array.from_array(pandas_frame[COLUMNS].to_numpy(), chunks=(len(pandas_frame) // PARTITIONS, 3))
        centred = values - values.mean(axis=0)
        covariance = (centred.T @ centred / (len(values) - 1)).compute()

        # One computation alone, without switching: give the scheduler to it.
        spreads = dask.compute(*(spread(wine[name]) for name in COLUMNS), scheduler=aktis_dask_get)
    print(means.round(2).to_string())
    print("wines with more than 14 %, by kind:", strong.to_dict())
    print("from smallest to largest:", {name: round(value, 2) for name, value in zip(COLUMNS, spreads)})

    pd.testing.assert_frame_equal(means, pandas_frame.groupby("kind")[COLUMNS].mean())
    assert strong.to_dict() == pandas_frame[pandas_frame.alcohol > 14].kind.value_counts().to_dict()
    assert np.allclose(covariance, pandas_frame[COLUMNS].cov())
    assert spreads == tuple(wine[name].max() - wine[name].min() for name in COLUMNS)
    print("pandas finds the same")


if __name__ == "__main__":
    main()
