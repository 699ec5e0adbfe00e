"""The dashboard, the poller of every page, and the error pages."""
