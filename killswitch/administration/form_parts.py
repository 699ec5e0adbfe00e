"""What the forms of administrators have in common: input is never cut, and never overwrites."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict
from django.utils.safestring import SafeString, mark_safe

from killswitch.exchanges.runbook import clean_text
from killswitch.runtime.text import escape_controls, truncate

MAX_SHOWN_CHARS = 300
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
NO_CONTROLS = RegexValidator(
    regex=f"[{CONTROLS}]", message="Remove the control characters.", inverse_match=True
)


class LineField(forms.CharField):
    """Text on one line: every run of spaces and line breaks is one space."""

    default_validators = [NO_CONTROLS]

    def to_python(self, value: Any) -> str:
        return " ".join(str(super().to_python(value)).split())


class TextField(forms.CharField):
    """Text on several lines. The line breaks of browsers (CR LF) count as one character."""

    default_validators = [NO_CONTROLS]

    def to_python(self, value: Any) -> str:
        return clean_text(str(super().to_python(value)))


class WholeInputForm(forms.BaseForm):
    """Refuses input that is too long. A browser would cut what is pasted without a word.

    Half an ID may be another one, and half a telephone number reaches nobody.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("maxlength", None)
            field.error_messages["max_length"] = (
                "Use at most %(limit_value)d characters. This has %(show_value)d."
            )


class ChangeForm(WholeInputForm):
    """Replaces values only while they are as the page showed them.

    Each field sends what it showed along with what was typed. A value that has changed
    since is an error at its field. What was typed there is kept, and saving again
    replaces the newer value; a field in which nothing was typed takes the newer value over.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        instance = getattr(self, "instance", None)
        is_new = instance is not None and instance.pk is None
        self._compared = [] if is_new else [name for name in self.fields if name in self.initial]
        for name in self._compared:
            self.fields[name].show_hidden_initial = True

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or self.cleaned_data
        stale = [name for name in self._compared if self._is_stale(name)]
        data = QueryDict(mutable=True)
        data.update(self.data)
        for name in stale:
            self._report(name, data)
        return cleaned_data

    @property
    def shown_choices(self) -> SafeString:
        """Return hidden inputs with what the choices were: a template writes them one by one."""
        parts = []
        for name in self._compared:
            bound = self[name]
            if bound.use_fieldset:
                value = self._shown(name) if self.is_bound else bound.value()
                widget = self.fields[name].hidden_widget()
                parts.append(widget.render(bound.html_initial_name, value))
        return mark_safe("".join(parts))  # noqa: S308 - rendered by widgets

    def current_text(self, name: str) -> str:
        """Return the current value of a field as the page shows it."""
        value = self._current(name)
        if isinstance(value, list):
            value = ", ".join(map(str, value))  # the IDs of exchanges
        return truncate(escape_controls(" ".join(str(value).split())), MAX_SHOWN_CHARS)

    def _current(self, name: str) -> Any:
        return self.get_initial_for_field(self.fields[name], name)

    def _shown(self, name: str) -> Any:
        widget = self.fields[name].hidden_widget()
        return widget.value_from_datadict(self.data, self.files, self[name].html_initial_name)

    def _is_stale(self, name: str) -> bool:
        """Return whether a value is neither the one that was shown nor the one that was typed."""
        field, current = self.fields[name], self._current(name)
        return _differ(field, current, self._shown(name)) and _differ(
            field, current, self[name].data
        )

    def _report(self, name: str, data: QueryDict) -> None:
        """Add the error, and let the form show the value that is current now."""
        field, bound = self.fields[name], self[name]
        was_typed = _differ(field, self._shown(name), bound.data)
        value = field.prepare_value(self._current(name))
        values = [str(item) for item in (value if isinstance(value, list) else [value])]
        text = self.current_text(name)
        sentence = "This has changed since you opened the page."
        sentence += f" It is now “{text}”." if text else " It is now empty."
        if was_typed:
            sentence += " Save again to replace that with yours."
        else:
            data.setlist(bound.html_name, values)
        data.setlist(bound.html_initial_name, values)
        self.data = data
        self.add_error(name, sentence)


def _differ(field: forms.Field, old: Any, new: Any) -> bool:
    """Return whether two values of a field differ in more than the white space that it removes."""
    return field.has_changed(
        field.to_python(old) if isinstance(field, forms.CharField) else old, new
    )
