"""Problems that are found before hours of work."""
