"""Frames to segments, through a network, to one label a track."""
