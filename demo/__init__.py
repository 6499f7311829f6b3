"""`make demo`: the real system on real parts, from nothing, on a machine where nothing is configured."""
