"""The Redis that users run keeps its data when it is restarted, killed and upgraded."""
