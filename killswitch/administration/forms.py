"""The forms of administrators. Errors are shown next to their fields, and the input is kept."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.password_validation import (
    password_validators_help_text_html,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.utils.html import format_html

from killswitch.accounts.models import Role, User
from killswitch.administration import exchange_ids
from killswitch.administration.form_parts import ChangeForm, LineField, TextField, WholeInputForm
from killswitch.ems.exchange_ids import InvalidExchangeId, check_exchange_id
from killswitch.exchanges.models import NAME_TAKEN, Exchange, ExchangeGroup
from killswitch.exchanges.runbook import MAX_TEXT_CHARS
from killswitch.runtime.text import escape_controls

MAX_COMMENT_CHARS = 500
ROLE_TEXTS = {
    Role.RISK_OFFICER: (
        "Cancels orders, holds exchanges and acknowledges alarms. Cannot read the audit log."
    ),
    Role.COMPLIANCE: (
        "Sees the console and all requests. Reads, reviews, signs off and exports the audit log."
        " Cannot cancel."
    ),
    Role.ADMINISTRATOR: (
        "Manages exchanges, groups, users and the runbook. Cannot cancel, and sees neither the"
        " console nor the audit log."
    ),
}


class ExchangeForm(ChangeForm, forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """An exchange that is set up already. Whether it is enabled is changed on a page of its own."""

    class Meta:
        model = Exchange
        fields: tuple[str, ...] = (
            "name",
            "caveat",
            "contact",
            "emergency_phone",
            "member_ids",
            "session_ids",
            "what_they_ask",
            "position",
        )
        help_texts = {
            "name": "A name for it that your desk uses. The ID is always shown as well.",
            "position": "Lower numbers come first on the console; equal ones are in order of ID.",
        }
        error_messages = {
            "exchange_id": {
                "unique": "This exchange is here already. If you have just added it, it was saved."
            }
        }
        field_classes = {
            **dict.fromkeys(("name", "caveat", "contact", "emergency_phone"), LineField),
            **dict.fromkeys(("member_ids", "session_ids"), LineField),
            "what_they_ask": TextField,
        }
        widgets: dict[str, forms.Widget] = {
            "caveat": forms.Textarea(attrs={"rows": 3}),
            "contact": forms.Textarea(attrs={"rows": 2}),
            "session_ids": forms.Textarea(attrs={"rows": 2}),
            "what_they_ask": forms.Textarea(attrs={"rows": 4}),
        }


class ExchangeIdForm(ExchangeForm):
    """An exchange with its ID, which is compared with those that the EMS lists."""

    anyway = forms.BooleanField(
        label="The ID is correct as typed", required=False, widget=forms.HiddenInput
    )
    id_check: exchange_ids.IdCheck | None = None
    field_order = ("exchange_id", "anyway")

    class Meta(ExchangeForm.Meta):
        fields = ("exchange_id", *ExchangeForm.Meta.fields)
        help_texts = {
            **ExchangeForm.Meta.help_texts,
            "exchange_id": "Exactly as the EMS spells it, in the same letter case. Put"
            " an account after a slash, e.g. KRAKEN/JOHN; it is separate from KRAKEN.",
        }
        widgets = {
            **ExchangeForm.Meta.widgets,
            "exchange_id": forms.TextInput(
                attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
            ),
        }

    def clean_exchange_id(self) -> str:
        exchange_id: str = self.cleaned_data["exchange_id"]
        try:
            check_exchange_id(exchange_id)
        except InvalidExchangeId:
            message = "Remove spaces and control characters."
            raise forms.ValidationError(message) from None
        return exchange_id

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or self.cleaned_data
        exchange_id = cleaned_data.get("exchange_id")
        if not exchange_id or exchange_id == self.initial.get("exchange_id"):
            return cleaned_data
        self.id_check = exchange_ids.check(exchange_id, of=self.instance.pk)
        if self.id_check.is_doubtful:
            # From now on the page shows the box that says so.
            self.fields["anyway"].widget = forms.CheckboxInput()
            if not cleaned_data.get("anyway"):
                self.add_error("exchange_id", _doubt(exchange_id, self.id_check))
        return cleaned_data


def _doubt(exchange_id: str, id_check: exchange_ids.IdCheck) -> str:
    sentences = []
    if id_check.twins:
        sentences.append(
            f"{_join(id_check.twins)} exists here already and differs only in letter case, accents"
            " or separators."
        )
    if not id_check.listed:
        lists = f" It lists {_join(id_check.nearest)}." if id_check.nearest else ""
        sentences.append(f"The EMS has never listed {exchange_id}.{lists}")
    return f"{' '.join(sentences)} Check the ID, or tick the box below."


def _join(ids: Sequence[str]) -> str:
    return ", ".join(map(escape_controls, ids))


class CommentForm(WholeInputForm, forms.Form):
    """Why an exchange is disabled or enabled."""

    comment = LineField(
        label="Comment (optional)",
        help_text="Recorded in the audit log and shown with the alarm.",
        required=False,
        max_length=MAX_COMMENT_CHARS,
    )


class GroupForm(ChangeForm, forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """A group of exchanges; names differ by more than letter case."""

    class Meta:
        model = ExchangeGroup
        fields = ("name", "position", "exchanges")
        error_messages = {"name": {"unique": NAME_TAKEN}}
        help_texts = {
            "name": "E.g. a desk, an account or an exchange. Shown on the group's cancel button.",
            "position": "Lower numbers come first.",
            "exchanges": "An exchange may be in several groups. A cancel does not include disabled"
            " ones.",
        }
        field_classes = {"name": LineField}
        widgets = {"exchanges": forms.CheckboxSelectMultiple}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        exchanges: Any = self.fields["exchanges"]
        exchanges.label_from_instance = _exchange_label

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = ExchangeGroup.objects.exclude(pk=self.instance.pk)
        if name.casefold() in {other.casefold() for other in others.values_list("name", flat=True)}:
            raise forms.ValidationError(NAME_TAKEN)
        return name


def _exchange_label(exchange: Exchange) -> str:
    name = f"{exchange.exchange_id} · {exchange.name}" if exchange.name else exchange.exchange_id
    return name if exchange.enabled else f"{name} (disabled)"


class RunbookForm(ChangeForm, forms.Form):
    """The runbook, as plain text."""

    text = TextField(
        label="Text",
        help_text=f"Plain text, at most {MAX_TEXT_CHARS:,} characters. Line breaks are kept. Links,"
        " HTML and Markdown are shown as typed.",
        required=False,
        strip=False,
        max_length=MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 18}),
    )


def _password_field(label: str, *, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        strip=False,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def _role_field() -> forms.ChoiceField:
    choices = [
        (role.value, format_html("<b>{}</b> <span>{}</span>", role.label, ROLE_TEXTS[role]))
        for role in Role
    ]
    return forms.ChoiceField(choices=choices, widget=forms.RadioSelect)


class NameForm(ChangeForm, forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """The full name of a user."""

    class Meta:
        model = User
        fields: tuple[str, ...] = ("full_name",)
        help_texts = {"full_name": "Shown on pages and in the audit log, before the username."}
        error_messages = {
            "username": {
                "unique": "There is already a user with this name. If you have just added them,"
                " they were saved. Usernames are never reused."
            }
        }


class PasswordForm(WholeInputForm, forms.Form):
    """A new password for a user, who must change it at the next sign-in."""

    password1 = _password_field("New password", help_text=password_validators_help_text_html())
    password2 = _password_field("Repeat new password")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        self.user = user
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or self.cleaned_data
        check_password(self, user=self.user)
        return cleaned_data


def check_password(form: forms.BaseForm, *, user: User) -> None:
    """Add the errors of a new password: it differs from its repetition, or is too easy to guess."""
    password = form.cleaned_data.get("password1", "")
    if password != form.cleaned_data.get("password2", password):
        form.add_error("password2", "The two passwords do not match.")
    elif password:
        try:
            validate_password(password, user)
        except ValidationError as error:
            form.add_error("password1", error)


class NewUserForm(NameForm):
    """A new user: names, a role, and a password for the first sign-in."""

    role = _role_field()
    password1 = _password_field("First password", help_text=password_validators_help_text_html())
    password2 = _password_field("Repeat first password")

    class Meta(NameForm.Meta):
        fields = ("username", "full_name", "role")

    def clean_username(self) -> str:
        return User.normalize_username(self.cleaned_data["username"])

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or self.cleaned_data
        # With the names as they are being typed: a password similar to them is refused.
        user = User(
            username=cleaned_data.get("username", ""), full_name=cleaned_data.get("full_name", "")
        )
        check_password(self, user=user)
        return cleaned_data


class RoleForm(ChangeForm, forms.Form):
    """Another role for a user."""

    role = _role_field()

    def current_text(self, name: str) -> str:
        return Role(self._current(name)).label
