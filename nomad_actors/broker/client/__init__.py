"""The callers' side: adding and finding jobs, viewing queues, and the connections for it."""
