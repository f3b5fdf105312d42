"""The server that takes our mail, as `rampwise.toml` describes it; the password is in the environment or a file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.access.confidential import Secret, read_secret

SIGN_IN_VARIABLE = "RAMPWISE_MAIL_PASSWORD"
PORTS = {"starttls": 587, "tls": 465, "none": 25}


def is_address(text: str) -> bool:
    """Whether a text is one mail address, and cannot carry a second header or recipient."""
    name, at, host = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not any(sign in text for sign in ' ,;:<>"()[]\\')
    named = "." in host.strip(".") or host == "localhost"
    return bool(plain and at and name and "@" not in name and named) and len(text) <= 254


def check_address(text: str) -> str:
    """The same text; PydanticCustomError if it is no address."""
    if not is_address(text):
        raise PydanticCustomError("mail_address", 'is not a mail address such as "team@example.org"')
    return text


MailAddress = Annotated[str, AfterValidator(check_address), Field(max_length=254)]


class MailServer(BaseModel):
    """How mail is handed over (SMTP)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    host: str = ""
    """Name of the server; no mail is sent while it is empty."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port; 587 with starttls, 465 with tls and 25 with none where unset."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; with "none" a password is only sent to this machine itself."""
    user: str = ""
    """Name to sign in with; nobody signs in where it is empty. The password is RAMPWISE_MAIL_PASSWORD or in the file
    that RAMPWISE_MAIL_PASSWORD_FILE names."""
    sender: MailAddress | Literal[""] = ""
    """Address mail comes from."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.host and not self.sender:
            raise PydanticCustomError("mail_sender", "needs `sender`, the address mail comes from")
        if self.user and self.security == "none" and self.host not in {"localhost", "127.0.0.1", "::1"}:
            raise PydanticCustomError(
                "mail_security", 'would send a password in the clear: use security = "starttls" or "tls"'
            )
        return self

    @property
    def connects_to(self) -> int:
        """The port."""
        return self.port or PORTS[self.security]

    def password(self) -> Secret | None:
        """The password; raises what `read_secret` raises."""
        return read_secret(SIGN_IN_VARIABLE) if self.user else None
