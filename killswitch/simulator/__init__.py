"""A stand-in EMS over HTTP, with live order books and scripted faults; apart from the product."""
