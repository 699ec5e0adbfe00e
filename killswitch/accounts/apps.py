from django.apps import AppConfig, apps


class AccountsConfig(AppConfig):
    name = "killswitch.accounts"

    def ready(self) -> None:
        # Django's own site has other rules of access, and shows tables that are not audited. With
        # ours as the default, Django's cannot be mounted by mistake.
        apps.get_app_config("admin").default_site = (  # type: ignore[attr-defined]
            "killswitch.accounts.admin_site.AdministrationSite"
        )
