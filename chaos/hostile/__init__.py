"""Hostile values, drawn by seed and case number, and the calls of every part of the system that they are given to."""
