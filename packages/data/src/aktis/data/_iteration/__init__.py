"""From a stream of blocks to batches: cutting, local shuffle, formats, prefetch, torch and TensorFlow."""
