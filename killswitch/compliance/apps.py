from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    name = "killswitch.compliance"
    label = "compliance"
