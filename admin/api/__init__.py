"""The JSON API under /admin/jobs: thin views, one module per topic."""
