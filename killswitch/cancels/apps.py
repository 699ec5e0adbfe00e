from django.apps import AppConfig


class CancelsConfig(AppConfig):
    name = "killswitch.cancels"
    label = "cancels"
    default_auto_field = "django.db.models.BigAutoField"
