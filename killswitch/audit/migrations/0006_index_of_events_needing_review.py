from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0005_review_seq"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(
                    models.Case(
                        models.When(
                            models.Q(
                                models.Q(
                                    (
                                        "kind__in",
                                        [
                                            "DENIED",
                                            "EXCHANGE_ADDED",
                                            "EXCHANGE_CHANGED",
                                            "EXPORTED",
                                            "FINISHED",
                                            "GROUP_ADDED",
                                            "GROUP_CHANGED",
                                            "GROUP_REMOVED",
                                            "GUARDS_PUT_BACK",
                                            "HOLD_BLIND",
                                            "HOLD_RELEASED",
                                            "HOLD_RELEASE_LAPSED",
                                            "HOLD_RELEASE_REQUESTED",
                                            "HOLD_RELEASE_WITHDRAWN",
                                            "HOLD_STARTED",
                                            "PASSWORD_CHANGED",
                                            "PERSON_ADDED",
                                            "PERSON_CHANGED",
                                            "REASON_COMPLETED",
                                            "RECOVERY_CODES_RENEWED",
                                            "RECOVERY_CODE_USED",
                                            "REQUESTED",
                                            "REQUESTS_EXPORTED",
                                            "ROLE_CHANGED",
                                            "RUNBOOK_CHANGED",
                                            "SECOND_FACTOR_ADDED",
                                            "SECOND_FACTOR_REMOVED",
                                            "SECOND_FACTOR_RESET",
                                        ],
                                    ),
                                    models.Q(
                                        models.Q(
                                            ("kind", "REQUESTED"),
                                            models.Q(
                                                ("kind", "FINISHED"),
                                                models.Q(
                                                    ("status", "CONFIRMED"),
                                                    models.Q(
                                                        (
                                                            "data__contains",
                                                            '"conclusion":"Refused by the EMS. No open orders.',
                                                        ),
                                                        ("status", "REJECTED"),
                                                    ),
                                                    _connector="OR",
                                                ),
                                            ),
                                            _connector="OR",
                                        ),
                                        ("data__contains", '"origin":"HOLD"'),
                                        _negated=True,
                                    ),
                                ),
                                models.Q(
                                    ("kind", "ALARM_RAISED"),
                                    models.Q(
                                        models.Q(
                                            ("request_id", ""),
                                            models.Q(
                                                ("data__contains", '"alarm_kind":"HOLD_BLIND"'),
                                                ("data__contains", '"alarm_kind":"HOLD_REMINDER"'),
                                                _connector="OR",
                                                _negated=True,
                                            ),
                                        ),
                                        ("data__contains", '"alarm_kind":"HOLD_TRADING"'),
                                        ("data__contains", '"alarm_kind":"REOPENED"'),
                                        _connector="OR",
                                    ),
                                ),
                                models.Q(
                                    ("data__contains", '"first":true'), ("kind", "ALARM_OVERDUE")
                                ),
                                models.Q(
                                    ("data__contains", '"by_person_concerned":true'),
                                    ("kind", "ALARM_ACKNOWLEDGED"),
                                ),
                                _connector="OR",
                            ),
                            then=models.Value(True),
                        ),
                        default=models.Value(False),
                        output_field=models.BooleanField(),
                    )
                ),
                fields=["seq", "kind", "request_id"],
                name="audit_needing_review",
            ),
        ),
    ]
