"""How a server is reached: with which key, and through which proxy of the environment, if any."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import openai

from ketchup.errors import ServerError, UsageError
from ketchup.redaction import redacted

KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"
"""What is sent where there is no key, as the client insists on one."""


@dataclass(frozen=True)
class Endpoint:
    """The address of an OpenAI-compatible server; `key` instead of the environment's, `option` what names it."""

    base_url: str
    key: str | None = None
    option: str = "--base-url"

    def __post_init__(self) -> None:
        if not is_address(self.base_url):
            advice = f"give {self.option} one such as http://127.0.0.1:8000/v1"
            raise UsageError(f"{self.shown!r} is no address of a server; {advice}.")

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return redacted(self.base_url)

    @property
    def proxy(self) -> str | None:
        """The proxy on the way, as the environment has it; none for an address of this machine or in `NO_PROXY`."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        if is_local(host) or proxy_bypass(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        proxies = getproxies()
        return proxies.get(parts.scheme) or proxies.get("all")

    @property
    def through(self) -> str:
        """` through the proxy ...` for a message, or nothing."""
        return f" through the proxy {redacted(self.proxy)}, as the environment says" if self.proxy else ""

    def client(self, timeout: float | None = None) -> openai.AsyncOpenAI:
        """A client that tries each call once, each phase of it for `timeout` seconds.

        Every call has a connection of its own. On one that is kept, what a server or proxy sends beyond a reply - a
        second copy, say - is taken for the reply to the next request. Raises a `ServerError` for a key or a proxy that
        cannot be used.
        """
        phases = openai.Timeout(timeout)
        return openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.key or environment_key() or NO_KEY,
            max_retries=0,
            timeout=phases,
            default_headers={"Connection": "close"},
            http_client=self._http(phases),
        )

    def _http(self, timeout: openai.Timeout) -> openai.DefaultAsyncHttpxClient:
        try:
            if self.proxy is None:
                # The client would prepare every proxy of the environment, also one that it lacks the package for.
                return openai.DefaultAsyncHttpxClient(trust_env=False, verify=_certificates(), timeout=timeout)
            return openai.DefaultAsyncHttpxClient(timeout=timeout)
        except Exception as error:  # of the environment's: an address or a package of a proxy, a file of certificates
            missing = isinstance(error, ImportError)
            fault = "`pip install socksio` is missing" if missing else redacted(str(error))
            host = urlsplit(self.base_url).hostname
            raise ServerError(
                f"{self.shown} cannot be asked{self.through} ({fault}); mend that, or go around a proxy with "
                f"NO_PROXY={host}."
            ) from error


def is_address(url: str) -> bool:
    """Whether a text is the address of a server: http or https, a host, and a port that is one if there is any."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        port = parts.port
    except ValueError:  # of brackets that do not close, names that no host has, and ports that are no number
        return False
    clean = url.isprintable() and not any(map(str.isspace, url))
    return clean and parts.scheme in ("http", "https") and bool(host) and port != 0


def is_local(host: str) -> bool:
    """Whether a host name or address is this machine's own, which no proxy can reach."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def environment_key(*variables: str) -> str | None:
    """The first key that the variables hold, by default `KEY_VARIABLE`, without space around it.

    Raises a `ServerError`, which does not show it, for a key that no request could carry.
    """
    for variable in variables or (KEY_VARIABLE,):
        key = os.environ.get(variable, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise ServerError(f"{variable} holds a character that no key has, such as a line break; set it anew.")
        if key:
            return key
    return None


def _certificates() -> ssl.SSLContext | bool:
    """The certificates that the environment names, which a client that does not trust it would pass over."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file, capath=folder) if file or folder else True
