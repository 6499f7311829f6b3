"""The Redis that users run, restarted, killed and upgraded: it must hold what it held."""
