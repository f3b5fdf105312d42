"""How people sign in: an OpenID Connect provider, its settings, and the two secrets it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.access.confidential import Secret, kept_secret, read_secret
from pipelines.access.listening import check_listening, is_loopback, split_web_address
from pipelines.errors import UsageError

SECRET_VARIABLE = "RAMPWISE_LOGIN_SECRET"  # noqa: S105 - the name of the variable, not a secret
CALLBACK = "oauth2callback"


class LoginError(UsageError):
    """Signing in is set up only in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Everything signing in takes.

    Attributes
    ----------
    metadata_url
        The provider's discovery document.
    client, secret
        What the provider knows us by.
    scopes
        What we ask the provider to tell about somebody.
    public_url
        Where browsers reach the dashboard, without a slash at the end.
    cookie_secret
        What sessions are signed with.
    """

    metadata_url: str
    client: str
    secret: Secret
    scopes: str
    public_url: str
    cookie_secret: Secret

    def streamlit_secrets(self) -> dict[str, Any]:
        """The `auth` section that Streamlit's `st.login` reads; handed over in memory, never written to a file."""
        return {
            "auth": {
                "redirect_uri": f"{self.public_url}/{CALLBACK}",
                "cookie_secret": self.cookie_secret.reveal(),
                "client_id": self.client,
                "client_secret": self.secret.reveal(),
                "server_metadata_url": self.metadata_url,
                "client_kwargs": {"scope": self.scopes, "prompt": "select_account"},
            }
        }


def find_login(
    *,
    address: str,
    port: int,
    public_url: str | None,
    login_url: str | None,
    login_client: str | None,
    scopes: str,
    cookie_file: Path,
) -> Login | None:
    """How people sign in, or None where only this machine can come in and nobody has to.

    Parameters
    ----------
    address, port, public_url
        Where the dashboard listens, and where browsers reach it; this machine where not given.
    login_url, login_client, scopes
        The provider's discovery document, our name there, and what we ask for.
    cookie_file
        Where the secret lies that sessions are signed with; made when missing.

    Raises
    ------
    LoginError
        If one of the settings or the secret is missing.
    ListeningError
        If nobody signs in and the address is not this machine, or an address is not https.
    SecretError
        If a secret cannot be used.
    """
    secret = read_secret(SECRET_VARIABLE)
    given = {"login_url": login_url, "login_client": login_client, SECRET_VARIABLE: secret}
    if login_url is None or login_client is None or secret is None:
        missing = [name for name, value in given.items() if value is None]
        if login_url is not None or login_client is not None:
            raise LoginError(
                f"Signing in is set up only in part: {' and '.join(missing)} missing. The secret comes from the "
                f"environment, or from the file that {SECRET_VARIABLE}_FILE names."
            )
        check_listening(address, signs_in=False)
        return None
    if public_url is None and not is_loopback(address):
        raise LoginError(f"Listening on {address} needs `public_url`: where browsers reach the dashboard.")
    split_web_address("login_url", login_url)
    reached = (public_url or f"http://localhost:{port}").rstrip("/")
    split_web_address("public_url", reached)
    return Login(
        metadata_url=login_url,
        client=login_client,
        secret=secret,
        scopes=scopes,
        public_url=reached,
        cookie_secret=kept_secret(cookie_file),
    )
