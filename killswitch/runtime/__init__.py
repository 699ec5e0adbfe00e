"""Mechanisms that know nothing of the product: leases, revisions, periodic tasks, text."""
