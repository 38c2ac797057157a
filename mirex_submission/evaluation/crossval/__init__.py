"""Any submissions, run through their shell calls over the same folds."""
