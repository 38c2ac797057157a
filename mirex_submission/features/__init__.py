"""Audio files to log-Mel frames on disk."""
