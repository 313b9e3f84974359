"""What the trainers, checkpoints and predictors of XGBoost and LightGBM share. Private."""
