"""Checks that find problems before hours of work."""
