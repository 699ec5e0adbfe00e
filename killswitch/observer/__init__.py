"""The observer's process: open orders, canary, upkeep of the audit log."""
