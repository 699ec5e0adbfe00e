"""Break glass: cancels without the database, the queue or any other process."""
