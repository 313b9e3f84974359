"""Data for training workers: dealt in equal parts, epoch by epoch, from wherever an interrupted epoch was left."""
