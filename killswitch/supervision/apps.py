from django.apps import AppConfig


class SupervisionConfig(AppConfig):
    name = "killswitch.supervision"

    def ready(self) -> None:
        # Every process that loads Django may publish: `shared_task` must know our broker by now.
        from killswitch import celery  # noqa: F401

        # Registers them.
        from killswitch.supervision import (  # noqa: F401
            checks,
            deploy_checks,
            notation_checks,
            session_checks,
        )
