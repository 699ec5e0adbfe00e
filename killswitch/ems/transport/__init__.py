"""One HTTP exchange with the EMS, under one total deadline."""
