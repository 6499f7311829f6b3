"""Prometheus' recording rules and alerts, written as Python and kept as YAML: `make monitoring`.

In fast motion (a time factor below 1) every time is shorter; names keep the real windows, so that rules stay the same.
"""
