"""Files, processes and messages: what every layer stands on."""
