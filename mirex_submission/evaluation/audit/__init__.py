"""Audit of a data set: copies, leaks, shortcuts and wrong labels that make scores on it untrustworthy."""
