"""The configured exchanges and their open orders."""
