"""What Prometheus sees: the counts of this process, what Redis holds, and how both are served."""
