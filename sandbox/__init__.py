"""A fake ESI and EVE SSO for the demo and the tests: realistic characters, correct headers, faults on request.

It imports nothing from the job system, so that its knowledge of ESI is independent.
"""
