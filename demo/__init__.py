"""`make demo`: the real system with real components, on a machine without any configuration."""
