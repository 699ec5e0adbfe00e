"""The users of this system: a name, a password, one role."""

import unicodedata
from collections.abc import Collection, Iterator
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from killswitch.audit.actors import Actor

RESERVED_NAMES = frozenset({"system", "anonymous"})  # the log's actors that are not users
MAX_USERNAME_CHARS = 60
USERNAME_RULE = (
    "Use only letters from a to z, digits and @ . + - _, starting with a letter or digit."
)


class Role(models.TextChoices):
    """What a user may do here; each user has one role."""

    RISK_OFFICER = "RISK_OFFICER", "Risk officer"
    COMPLIANCE = "COMPLIANCE", "Compliance"
    ADMINISTRATOR = "ADMINISTRATOR", "Administrator"


def role_label(role: str) -> str:
    """Return a role in words; an unknown one unchanged."""
    if role == "OPERATING_SYSTEM":
        return "Operating system"
    return str(Role(role).label) if role in Role.values else role


class UserManager(BaseUserManager["User"]):
    """Finds users by the name that was typed; there are no superusers to create."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username=self.model.normalize_username(username or ""))


def _no_control_characters(value: str) -> None:
    RegexValidator(
        regex="[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
        message="Remove the control characters.",
        inverse_match=True,
    )(value)


class User(AbstractBaseUser):
    """A user who can sign in."""

    # `full_text` of the two longest names fits the audit log's column for the actor. Usernames are
    # plain ASCII, so that none can be mistaken for another in the log.
    username = models.CharField(
        max_length=MAX_USERNAME_CHARS,
        unique=True,
        validators=[RegexValidator(regex=r"\A[a-z0-9][a-z0-9@.+_-]*\Z", message=USERNAME_RULE)],
        help_text=f"{USERNAME_RULE} Not case-sensitive.",
    )
    full_name = models.CharField(max_length=120, blank=True, validators=[_no_control_characters])
    role = models.CharField(max_length=20, choices=Role.choices)
    is_active = models.BooleanField(
        "can sign in",
        default=True,
        help_text="Users cannot be deleted. Clear this box to disable the account.",
    )
    # An administrator chose the password, so that two people know it.
    must_change_password = models.BooleanField(default=False, db_default=False, editable=False)
    is_demo = models.BooleanField(default=False, editable=False)
    date_joined = models.DateTimeField(auto_now_add=True)
    # Raised by each change that ends this user's sessions: a role that is given back must not
    # revive an old session.
    session_epoch = models.PositiveIntegerField(db_column="epoch", default=0, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"

    class Meta:
        verbose_name = "user"
        verbose_name_plural = "users"
        ordering = ["username"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="everybody_has_one_known_role"
            ),
            models.CheckConstraint(
                condition=models.Q(username=Lower("username")), name="usernames_are_lower_case"
            ),
        ]

    def __str__(self) -> str:
        return self.full_name or self.username

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return the form in which a name is stored: sign-in is not case-sensitive.

        A text too long for a name is only cut, to one that is still too long: normalising takes
        time by the square of the length. NUL is removed because databases refuse it.
        """
        username = username.replace("\x00", "")
        if len(username) > 2 * MAX_USERNAME_CHARS:
            return username[: MAX_USERNAME_CHARS + 1]
        return unicodedata.normalize("NFKC", username).strip().lower()

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Raise `ValidationError` as Django does, and for a name that the audit log uses."""
        super().clean_fields(exclude=exclude)
        errors = {
            field: "This name is reserved for the audit log. Choose another."
            for field in {"username", "full_name"}.difference(exclude or ())
            if unicodedata.normalize("NFKC", getattr(self, field)).strip().casefold()
            in RESERVED_NAMES
        }
        if errors:
            raise ValidationError(errors)

    @property
    def full_text(self) -> str:
        """Return both names, for a reader years later: `Olga Ray (olga)`."""
        return f"{self.full_name} ({self.username})" if self.full_name else self.username

    @property
    def actor(self) -> Actor:
        """Return this user as the audit log names them."""
        return Actor(name=self.full_text, role=self.role)

    @property
    def is_administrator(self) -> bool:
        return self.role == Role.ADMINISTRATOR

    def get_session_auth_hash(self) -> str:
        """Return a hash that every session carries; a session with another one has ended."""
        return self._hash_with_role(None)

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        for secret in settings.SECRET_KEY_FALLBACKS:
            yield self._hash_with_role(secret)

    def _hash_with_role(self, secret: str | bytes | None) -> str:
        value = f"{self.password}|{self.role}|{self.is_active}|{self.session_epoch}"
        salt = "killswitch.accounts.session"
        return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()
