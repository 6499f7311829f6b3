"""Grafana's dashboards, written as Python and kept as JSON: `python -m monitoring.dashboards`."""
