"""Folds: split labelled tracks, write the lists of MIREX, and check them."""
