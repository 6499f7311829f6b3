"""Sends the collected data: rows as JSON, NDJSON and CSV, pages by cursor, and streams in constant memory."""
