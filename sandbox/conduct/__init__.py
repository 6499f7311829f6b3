"""The conduct record: every request that CCP would have frowned on, with its reason; and counters of all requests."""
