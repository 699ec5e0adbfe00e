from django.apps import AppConfig


class SupervisionConfig(AppConfig):
    name = "killswitch.supervision"
    label = "supervision"

    def ready(self) -> None:
        # Every process that loads Django may publish: from here on `shared_task` knows our broker.
        from killswitch import celery  # noqa: F401
        from killswitch.audit import descriptions
        from killswitch.supervision.descriptions import DESCRIPTIONS

        descriptions.register(DESCRIPTIONS)
