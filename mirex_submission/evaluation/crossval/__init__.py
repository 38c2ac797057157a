"""Cross-validation: run any submissions through their shell scripts on the same folds."""
