"""One verdict, with what was found and what to do."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from crypto_quant.errors import CryptoQuantError


class Verdict(StrEnum):
    """What a check comes to, the best first."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check: ``found`` in words, and the ``remedy``, which is empty when nothing is to be done."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that recording can live with, and somebody should see to."""
    return Finding(check, Verdict.WARNING, found, remedy)


def failed(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that recording cannot live with."""
    return Finding(check, Verdict.FAILED, found, remedy)


def skipped(check: str, reason: str, remedy: str = "") -> Finding:
    """Return the finding that nothing could be, or had to be, found out."""
    return Finding(check, Verdict.SKIPPED, reason, remedy)


def of_error(check: str, problem: CryptoQuantError) -> Finding:
    """Return the finding that an error is; its hint is the remedy."""
    return failed(check, f"{problem.what}: {problem.subject}" if problem.subject else problem.what, problem.hint)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict; what was skipped is no worse than ok."""
    order = list(Verdict)
    most = max((order.index(finding.verdict) for finding in findings), default=0)
    return Verdict.OK if order[most] is Verdict.SKIPPED else order[most]
