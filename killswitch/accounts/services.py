"""What the rest of the system may ask of this room."""

from killswitch.accounts.demo import DemoPerson, ensure_demo_people
from killswitch.accounts.people import add_person, save_person

__all__ = ["DemoPerson", "add_person", "ensure_demo_people", "save_person"]
