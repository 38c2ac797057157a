"""Scoring: compares the outputs of systems with the truth and computes the figures that MIREX publishes."""
