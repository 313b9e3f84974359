"""How predictions for data sets are made: see :mod:`aktis.train.batch_predictor`."""
