"""The least that `manage.py ems_simulator` needs: the simulator itself, and no database."""

INSTALLED_APPS = ["killswitch.simulator"]
USE_TZ = True
