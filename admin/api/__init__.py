"""The JSON API under /admin/jobs: thin views, one module a kind of question."""
