from playwright.sync_api import Page
from tests.browser import scenes
from killswitch.cancels.states import Status
def test_w(page: Page, olga):
    made = scenes.calm(olga, 60)
    st = [Status.CONFIRMED, Status.REJECTED, Status.RESIDUAL, Status.UNKNOWN, Status.CONFIRMED, Status.SENDING]
    for i, e in enumerate(made):
        scenes.bring(scenes.press(olga, e).requests.get(), st[i % 6])
    r = page.goto("/")
    import pathlib; pathlib.Path("/tmp/officer/t/sixty.html").write_bytes(r.body())
    w = page.evaluate("""() => Object.fromEntries(["navigation", "resource"].flatMap((kind) => performance
          .getEntriesByType(kind).filter((entry) => !entry.name.includes("/poll/"))
          .map((entry) => [entry.name.replace(location.origin,''), entry.decodedBodySize])))""")
    print(w, sum(w.values()))
    page.screenshot(path="/tmp/officer/t/sixty.png")
