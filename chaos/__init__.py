"""`make chaos`: the long proofs, each with a short form in the suite; seed and duration are parameters."""
