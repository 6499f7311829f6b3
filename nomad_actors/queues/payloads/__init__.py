"""Payloads: their types are checked when a job type is declared, their values are written to messages and read back."""
