"""The middleware around every job: log lines, metrics, error reports and retries."""
