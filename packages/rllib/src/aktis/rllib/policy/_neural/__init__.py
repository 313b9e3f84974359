"""What lets one policy be written for several frameworks: the life of a policy with a model."""
