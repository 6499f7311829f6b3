"""Benchmarks against Dramatiq's own Redis broker in the same run; see docs/benchmarks.md."""
