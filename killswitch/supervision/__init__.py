"""Starts the programs of the system, restarts them, and checks the configuration."""
