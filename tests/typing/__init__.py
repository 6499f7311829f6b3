"""Type checkers on code that uses this package."""
