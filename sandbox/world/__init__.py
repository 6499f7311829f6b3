"""The simulated universe: each file generates one domain's data as a pure function of seed, character and time.

Nothing is stored: the same seed, character and second give the same rows in every process, so that rows appear, age and
drop out of ESI's windows as they do in the game.
"""
