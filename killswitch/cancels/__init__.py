"""The cancel, from its confirmation to its final status; the watchdog."""
