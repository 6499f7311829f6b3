"""The commands of `nomad`, one module a group; what is heavy to import is imported when a command runs."""
