"""What is said of a server that cannot be reached, for every way in which the libraries wrap the cause."""

import socket
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from crypto_quant.net.causes import explained

KEY = ConnectionKey("x.test", 443, True, True, None, None, None)


def refused(code: int, message: str) -> ssl.SSLCertVerificationError:
    problem = ssl.SSLCertVerificationError(1, message)
    problem.verify_code, problem.verify_message = code, message
    return problem


def wrapped(problem: BaseException) -> BaseException:
    outer = OSError("outer")
    outer.__cause__ = problem
    return outer


@pytest.mark.parametrize("wrap", [
    lambda problem: problem,
    wrapped,
    lambda problem: aiohttp.ClientConnectorCertificateError(KEY, problem),
])  # fmt: skip
@pytest.mark.parametrize(("code", "message", "remedy"), [
    (10, "certificate has expired", "this machine's clock"),
    (9, "certificate is not yet valid", "this machine's clock"),
    (18, "self-signed certificate", "SSL_CERT_FILE"),
    (20, "unable to get local issuer certificate", "SSL_CERT_FILE"),
    (62, "Hostname mismatch", "Check the URL"),
])  # fmt: skip
def test_a_certificate_that_is_refused(wrap, code: int, message: str, remedy: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    cause, hint = explained(wrap(refused(code, message)))
    assert cause == f"the certificate is refused: {message}"
    assert remedy in hint


@pytest.mark.parametrize("wrap", [lambda problem: problem, wrapped, lambda p: aiohttp.ClientConnectorDNSError(KEY, p)])
def test_a_name_that_does_not_resolve(wrap) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    cause, hint = explained(wrap(socket.gaierror(socket.EAI_NONAME, "Name or service not known")))
    assert cause == "the name does not resolve: Name or service not known"
    assert "DNS" in hint


@pytest.mark.parametrize(("problem", "said"), [
    (TimeoutError(), "timed out"),
    (ConnectionRefusedError(111, "refused"), "[Errno 111] refused"),
    (ValueError(), "ValueError"),
])  # fmt: skip
def test_anything_else_is_quoted(problem: Exception, said: str) -> None:
    assert explained(problem) == (said, "")
