"""Who may what: who asks, what that allows, how often it may be tried, and what is written down of it."""
