"""Files, processes and messages, which every layer uses."""
