"""Access control: tokens, sessions, roles, limits on wrong tokens, and the audit log."""
