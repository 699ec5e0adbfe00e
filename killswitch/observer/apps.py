from django.apps import AppConfig


class ObserverConfig(AppConfig):
    name = "killswitch.observer"
    label = "observer"
