"""A trading kill switch: cancel every open order, see what really happened, prove it later."""

__version__ = "0.1.0"
