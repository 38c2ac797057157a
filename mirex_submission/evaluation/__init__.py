"""Evaluation: folds, cross-validation, the figures that MIREX publishes, audits, stress tests and reports."""
