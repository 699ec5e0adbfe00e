"""Keeps cancelling every order that the EMS lists on an exchange, until two people release it."""
