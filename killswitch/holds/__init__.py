"""Keeps an exchange flat until two people release it: cancels every order that the EMS lists."""
