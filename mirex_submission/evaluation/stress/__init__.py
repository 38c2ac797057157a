"""Whether an answer holds when the audio is altered."""
