"""The audit log: events, hash chain, verification, review and export."""
