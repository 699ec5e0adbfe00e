from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "killswitch.console"
    label = "console"
