"""Break glass: cancels without the database, the queue or any other process.

One press, from top to bottom:

1. `views` (a browser, after `confirmation`) or `command` makes it: `press.new_press`.
2. `execution` journals it and starts a `Kill` for each request; `press_registry` remembers it.
3. Each kill records in `journal_record`, which writes `line_data` to the `journal`.
4. When the database is back, `upkeep` lets `recovery` take the journal into the log;
   `reconciliation` compares the two from then on.

A kill of the log that loses its database goes on at 3, and `request_recovery` settles its row.
`upkeep` also keeps what a press needs: the `exchange_snapshot`, the `rehearsal` and the telephone
cards.
"""
