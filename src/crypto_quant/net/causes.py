"""Why a server could not be reached, and what to do: names that do not resolve, certificates that are refused."""

import socket
import ssl

from crypto_quant.net.proxies import Proxy

_CLOCK = "Check this machine's clock; when it is right, the server has to renew its certificate"
_UNTRUSTED = (
    "Nobody whom this machine trusts has signed it. Install the system's CA certificates, or name the CA's file in"
    " SSL_CERT_FILE (of a proxy that inspects TLS: the proxy's). Certificates are always checked"
)
_ANOTHER = "Somebody else answers there. Check the URL; a proxy or a captive portal may stand in between"
# OpenSSL's X509_V_ERR_…
_HINTS = {9: _CLOCK, 10: _CLOCK, 62: _ANOTHER, 63: _ANOTHER, 64: _ANOTHER}
_DNS = "Check the host of the URL, and this machine's DNS"


def explained(problem: BaseException) -> tuple[str, str]:
    """Return what went wrong, and what to do about it (empty: nothing special)."""
    seen: BaseException | None = problem
    while seen is not None:
        # aiohttp's own error of this kind is a bare one, which says nothing by itself
        if isinstance(seen, ssl.SSLCertVerificationError) and hasattr(seen, "verify_code"):
            return f"the certificate is refused: {seen.verify_message}", _HINTS.get(seen.verify_code, _UNTRUSTED)
        if isinstance(seen, socket.gaierror):
            return f"the name does not resolve: {seen.strerror}", _DNS
        # aiohttp keeps the cause in attributes, others chain it
        seen = getattr(seen, "certificate_error", None) or getattr(seen, "os_error", None) or seen.__cause__
    if isinstance(problem, TimeoutError):
        return "timed out", ""
    return str(problem) or type(problem).__name__, ""


def refused_by_proxy(status: int) -> tuple[str, str]:
    """Return what a proxy's refusal means, and what to do about it."""
    if status == 407:
        return "the proxy wants a name and a password: HTTP 407", "Write them as http://USER:PASSWORD@HOST:PORT"
    return f"the proxy refuses the connection: HTTP {status}", "It has to allow this host and port"


def through_proxy(hint: str, proxy: Proxy | None) -> str:
    """Return a hint that names the proxy through which it was tried, where there is one."""
    if proxy is None:
        return hint
    way = f"It was asked through the proxy {proxy}"
    return f"{hint}. {way}" if hint else way
