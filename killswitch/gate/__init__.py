"""What every request passes before Django: keeps capacity for a cancel apart from everything else.

A flood of polls, exports, sign-ins or pages waits in a line of its own, and clients that send or
read slowly hold no thread. docs/adr/0016-gate.md has the reasons and the figures.

* `application` serves a request from its first byte to its last
* `client` reads a form within a deadline, and notices that its sender has gone
* `routes` knows the lane of each address
* `lanes` have threads, and a line for those that wait
* `wsgi_bridge` calls Django, which is a WSGI application
"""
