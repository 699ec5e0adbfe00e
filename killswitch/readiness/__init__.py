"""Would a cancel work now? Health checks, metrics, and the status of every page."""
