"""Generates Grafana's dashboards and Prometheus' rules and alerts from one table of thresholds."""
