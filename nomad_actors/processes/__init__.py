"""Processes: starting and supervising programs, ending with the parent, a local Redis server, private files."""
