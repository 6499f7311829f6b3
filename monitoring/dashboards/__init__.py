"""Grafana's dashboards, written as Python and kept as JSON: `make monitoring`."""
