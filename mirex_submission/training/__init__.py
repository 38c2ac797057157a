"""A training: recipe, segments, data set, epochs, checkpoints."""
