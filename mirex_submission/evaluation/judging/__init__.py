"""Outputs and truth to the figures that MIREX publishes."""
