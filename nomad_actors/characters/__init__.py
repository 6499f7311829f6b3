"""What concerns a character as a whole: its login, database, cache, limits and jobs together."""
