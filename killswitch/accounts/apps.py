from django.apps import AppConfig, apps


class AccountsConfig(AppConfig):
    name = "killswitch.accounts"

    def ready(self) -> None:
        from killswitch.accounts.descriptions import DESCRIPTIONS
        from killswitch.accounts.reconciliation import REGISTER
        from killswitch.audit import descriptions
        from killswitch.audit.reconciliation.comparison import reconcilers

        reconcilers.append(REGISTER.discrepancies)
        descriptions.register(DESCRIPTIONS)
        # Django's own site has other rules of access, and shows tables that are not audited. With
        # ours as the default, Django's cannot be mounted by mistake.
        apps.get_app_config("admin").default_site = (  # type: ignore[attr-defined]
            "killswitch.accounts.admin_site.AdministrationSite"
        )
