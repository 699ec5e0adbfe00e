"""The EMS over HTTP: the only room that imports `requests`; it knows no models."""
