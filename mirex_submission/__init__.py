"""Lidy and Schindler's MIREX 2016 parallel convolutional networks as a train/test classification submission."""

__version__ = "0.1.0"
