"""The EMS over HTTP: the only room that knows `requests`; it knows no models."""
