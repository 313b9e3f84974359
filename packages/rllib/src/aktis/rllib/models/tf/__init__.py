"""Networks and distributions in TensorFlow 2."""
