"""The runs of the commands as plain functions: extract, train, classify and others."""
