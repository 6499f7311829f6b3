"""The callers' side: adding jobs, finding them, seeing queues, and the connections for it."""
