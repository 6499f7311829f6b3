"""Processes: starting and supervising programs, ending with the parent, a Redis of our own, private files."""
