"""Two of each process on PostgreSQL and Redis, under random acts, judged by the EMS's record."""
