"""Writes what watches the system from outside, from one table of thresholds: dashboards, rules and alerts."""
