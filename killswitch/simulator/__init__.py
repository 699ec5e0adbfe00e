"""A stand-in EMS over HTTP with live order books and scripted faults; it shares no product code."""
