"""The EMS over HTTP: the only package that imports `requests`; it knows no models."""
