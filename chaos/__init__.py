"""Long proofs, run by `make chaos` with a seed and a duration; the test suite runs a short form of each."""
