"""Whether a score can be trusted: copies, leaks, shortcuts and wrong labels in the data that it is measured on."""
