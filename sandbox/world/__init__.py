"""The invented universe: each file makes one domain's data as a pure function of seed, character and time.

Nothing is stored and nothing is random twice: the same seed, character and second give the same rows in every process,
so that rows only ever appear, age and fall out of ESI's windows as they do in the game.
"""
