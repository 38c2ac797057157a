"""The command line: options, commands, and how a run ends."""
