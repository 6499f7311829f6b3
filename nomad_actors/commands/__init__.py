"""The commands of `nomad`, one module per group. Modules that import slowly are imported when a command runs."""
