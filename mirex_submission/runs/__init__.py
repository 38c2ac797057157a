"""What the commands do, as plain functions: extract, train, classify."""
