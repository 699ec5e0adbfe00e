"""The rules of alerts and the dashboard in `deploy/` name metrics that exist, and they work."""

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from killswitch.readiness import metrics
from killswitch.readiness.models import Canary
from tests import factories
from tests.holds.hold_factories import shell, start
from tests.readiness.conftest import all_is_well
from tools.programs import PROMTOOL

__all__ = ["all_is_well"]

PROMETHEUS = Path(settings.BASE_DIR) / "deploy" / "prometheus"
RULES = (PROMETHEUS / "killswitch.rules.yml").read_text()
RULE_TESTS = (PROMETHEUS / "killswitch.rules.test.yml").read_text()
DASHBOARD = json.loads((PROMETHEUS.parent / "grafana" / "killswitch.json").read_text())
OPERATING = (Path(settings.BASE_DIR) / "docs" / "operating.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
METRIC = re.compile(r"\bkillswitch_\w+")
MATCHER = re.compile(r"(killswitch_\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)(=~|!~|!=|=)\\?"([^"\\]*)\\?"')


def expressions() -> list[str]:
    """Return the PromQL of the dashboard."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def rule_expressions() -> list[str]:
    """Return the PromQL of the rules."""
    return re.findall(r"^ +expr: (\|\n(?: {10}.*\n)+|.*\n)", RULES, re.MULTILINE)


@pytest.fixture
def exposed(all_is_well: None) -> dict[str, list[Any]]:
    """Return the samples of a real exposition by name, while an exchange is held."""
    start(factories.exchange("HELD"), act=shell("olga"))
    Canary.objects.update(milliseconds=3.0)
    samples: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS) -> str:
    """Run promtool, which must succeed, and return its output."""
    executable = PROMTOOL.find()
    assert executable, "no promtool on PATH; `make test` provides it, or says how to get it"
    process = subprocess.run(
        [executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_the_rules_and_the_example_are_valid() -> None:
    promtool("check", "rules", "killswitch.rules.yml")
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", "killswitch.rules.test.yml")


def test_each_alert_has_a_test_in_which_it_fires_and_says_what_to_do() -> None:
    assert len(ALERTS) > 15
    tested = re.findall(r'ALERTS\{alertname="(\w+)"', RULE_TESTS)
    assert sorted(set(ALERTS) - set(tested)) == []
    for part in RULES.split("- alert: ")[1:]:
        rule = part.split("- name:")[0]
        for key in ("severity", "summary", "description", "first"):
            assert re.search(rf"\b{key}: ", rule), rule


def test_the_dashboard_can_be_evaluated(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    # JSON is YAML.
    content = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "dashboard.yml").write_text(json.dumps(content))
    promtool("check", "rules", "dashboard.yml", cwd=tmp_path)


def test_each_panel_is_explained_and_uses_the_data_source_that_is_chosen() -> None:
    assert len(DASHBOARD["panels"]) > 10
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_expressions_are_found() -> None:
    """Otherwise the tests below would have nothing to look at."""
    assert len(rule_expressions()) == len(ALERTS) + RULES.count("- record: ")
    assert len(expressions()) > 15


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_every_metric_of_a_rule_or_a_panel_exists(exposed: dict[str, list[Any]]) -> None:
    for text in [*rule_expressions(), *expressions(), *series_of_rule_tests()]:
        names = METRIC.findall(text)
        assert [name for name in names if name not in exposed] == []
        for name, label, operator, value in matchers(text):
            known = {sample.labels.get(label) for sample in exposed[name]}
            assert None not in known, f"{name} has no label {label}"
            if operator in {"=", "=~"} and label != "version":
                assert set(value.split("|")) <= known, f"{name} is never {label}={value}"


def series_of_rule_tests() -> list[str]:
    """Return the series that the tests of the rules are given, without those of other bounds."""
    series = re.findall(r"- series: '(killswitch_.*)'", RULE_TESTS)
    assert len(series) > 20
    return [re.sub(r'(job|instance)="[^"]*"(, )?', "", text) for text in series]


def matchers(text: str) -> Iterable[tuple[str, str, str, str]]:
    """Return each condition on a label: metric, label, operator and value."""
    for name, conditions in MATCHER.findall(text):
        for label, operator, value in LABEL.findall(conditions):
            yield name, label, operator, value


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_every_metric_is_explained_and_no_other_is(exposed: dict[str, list[Any]]) -> None:
    explained = set(re.findall(r"^\| `(killswitch_\w+)", OPERATING, re.MULTILINE))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed}
    assert explained == names


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_in_the_operating_guide(alert: str) -> None:
    assert f"`{alert}`" in OPERATING


def test_promtool_notices_a_mistake(tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    broken = RULES.replace("killswitch_notifications_pending) > 0", "killswitch_x) > 0")
    (tmp_path / "killswitch.rules.yml").write_text(broken)
    (tmp_path / "test.yml").write_text(RULE_TESTS)
    with pytest.raises(AssertionError, match="KillswitchNotificationsPending"):
        promtool("test", "rules", "test.yml", cwd=tmp_path)
