from django.apps import AppConfig


class ReadinessConfig(AppConfig):
    name = "killswitch.readiness"
    label = "readiness"
