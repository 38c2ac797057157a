"""Folds of labelled tracks as MIREX lists."""
