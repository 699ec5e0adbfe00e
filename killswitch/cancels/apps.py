from django.apps import AppConfig


class CancelsConfig(AppConfig):
    name = "killswitch.cancels"
    label = "cancels"

    def ready(self) -> None:
        from killswitch.audit.agreement import add_witness
        from killswitch.cancels.agreement import disagreements

        add_witness(disagreements)
