"""Hostile values, drawn by seed and case number, and calls that pass them to every part of the system."""
