"""Stress test: the accuracy of systems on altered audio."""
