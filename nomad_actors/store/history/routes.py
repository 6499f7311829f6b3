"""The names of the routes whose responses become rows."""

from __future__ import annotations

JOURNAL = "/characters/{character_id}/wallet/journal"
TRANSACTIONS = "/characters/{character_id}/wallet/transactions"
ORDERS = "/characters/{character_id}/orders"
ORDERS_HISTORY = "/characters/{character_id}/orders/history"
INDUSTRY_JOBS = "/characters/{character_id}/industry/jobs"
SKILLS = "/characters/{character_id}/skills"
