"""The networks: the paper's in Keras, and the compiled kernel that computes the same."""
