"""Makes the repository's root importable for the tests, and loads the plugin that every run uses."""

pytest_plugins = ["tests.support.require_all"]
