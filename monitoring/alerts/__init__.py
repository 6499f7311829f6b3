"""Prometheus' recording rules and alerts, defined in Python and generated as YAML by `make monitoring`.

A time factor below 1 shortens all durations; names keep the real windows, so the rules stay comparable.
"""
