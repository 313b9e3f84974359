"""A forecast for each of many shops: one small model per group, fitted where the group's rows are.

``groupby("shop").map_groups(forecast)`` calls the function once for each shop with all its days. The model is least squares
on a trend and the days of the week (of logarithms, since these multiply), and is compared with what is hard to beat without
one: the same day of last week.

Run: python examples/data_time_series.py
Needs: pip install aktis-data
Prints: the forecasts of some shops, the mean error of the models and of last week's figures, and that a loop finds the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import aktis.data

SHOPS, WEEKS, HORIZON = 60, 26, 14  # the last 14 days are to be forecast


def make_files(folder: Path) -> None:
    """Sales by day, a file for each month: every shop has its own level, trend and week."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=7 * WEEKS)
    shops = []
    for shop in range(SHOPS):
        week = rng.normal(1, 0.3, 7).clip(0.1)
        level = rng.uniform(20, 150) * (1 + rng.normal(0, 0.001) * np.arange(len(days)))
        sales = rng.poisson((level * week[days.day_of_week]).clip(1))
        shops.append(pd.DataFrame({"shop": f"shop {shop:02}", "day": days, "sales": sales}))
    sales = pd.concat(shops)
    for month, frame in sales.groupby(sales["day"].dt.month):
        frame.to_parquet(folder / f"{month}.parquet", index=False)


def design(days: pd.Series, first: pd.Timestamp) -> np.ndarray:
    """A column for the trend and seven for the days of the week."""
    trend = (days - first).dt.days.to_numpy()[:, None] / 100
    return np.hstack([trend, np.eye(7)[days.dt.day_of_week]])


def forecast(shop: pd.DataFrame) -> pd.DataFrame:
    """Fit on all days but the last, and say what these would be."""
    shop = shop.sort_values("day")
    past, future = shop[:-HORIZON], shop[-HORIZON:]
    first = past["day"].iloc[0]
    weights, *_ = np.linalg.lstsq(design(past["day"], first), np.log1p(past["sales"].to_numpy(float)), rcond=None)
    return pd.DataFrame(
        {
            "shop": future["shop"],
            "day": future["day"],
            "sales": future["sales"],
            "model": np.expm1(design(future["day"], first) @ weights),
            "last_week": np.tile(past["sales"].to_numpy(float)[-7:], HORIZON // 7),
        }
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name))
        sales = aktis.data.read_parquet(name)
        found = sales.groupby("shop").map_groups(forecast, batch_format="pandas").to_pandas()
        everything = sales.to_pandas()

    found = found.sort_values(["shop", "day"], ignore_index=True)
    print(found.groupby("shop").head(1).head(4).to_string(index=False, float_format="%.1f"))
    errors = {name: float((found[name] - found["sales"]).abs().mean()) for name in ("model", "last_week")}
    print(f"{found['shop'].nunique()} shops; mean error of the models {errors['model']:.2f}, "
          f"of last week's figures {errors['last_week']:.2f}")  # fmt: skip
    assert len(found) == SHOPS * HORIZON
    assert errors["model"] < 0.9 * errors["last_week"]

    loop = pd.concat([forecast(shop) for _, shop in everything.groupby("shop")])
    loop = loop.sort_values(["shop", "day"], ignore_index=True)
    pd.testing.assert_frame_equal(found, loop, check_dtype=False)
    print("a loop over the shops finds the same")


if __name__ == "__main__":
    main()
