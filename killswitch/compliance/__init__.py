"""The pages over the audit log, for compliance officers."""
