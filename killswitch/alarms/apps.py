from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "killswitch.alarms"
    label = "alarms"

    def ready(self) -> None:
        from killswitch.alarms.agreement import disagreements
        from killswitch.audit.agreement import add_witness

        add_witness(disagreements)
