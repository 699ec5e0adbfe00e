"""Register the simulator as an app, so that `manage.py ems_simulator` exists."""

from django.apps import AppConfig


class SimulatorConfig(AppConfig):
    name = "killswitch.simulator"
    label = "simulator"
