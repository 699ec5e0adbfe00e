"""The telephone cards: how to call an exchange, also without the database, and recorded calls."""
