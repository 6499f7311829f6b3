"""A fake ESI and EVE SSO for the demo and the tests: believable characters, honest headers, faults on request.

Imports nothing of the job system, so that what it says about ESI is a second opinion and not an echo.
"""
