"""The workers' side: leases, heartbeats, waiting for work, and settling."""
