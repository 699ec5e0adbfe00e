from tests.browser import scenes
from django.test import Client
import pytest,re
@pytest.mark.django_db
def test_size():
    from killswitch.accounts.models import Role
    o=scenes.person(Role.RISK_OFFICER); c=Client(); c.force_login(o)
    scenes.calm(o,60)
    h=c.get("/").content.decode(); print("calm",len(h))
    from killswitch.exchanges.models import Exchange
    for each in list(Exchange.objects.all()): scenes.bring(scenes.press(o,each,reason="Drill").requests.get(), scenes.Status.CONFIRMED)
    h=c.get("/").content.decode(); print("all confirmed",len(h)); print(h[:6500]); print(h[-6000:])
