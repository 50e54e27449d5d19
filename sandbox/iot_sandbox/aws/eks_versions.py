"""Kubernetes versions of EKS, and which a cluster may have next.

Dates are of AWS's calendar as of 2026-11-28, those of 1.36 of https://endoflife.date/amazon-eks as of 2026-08-22:
https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html#kubernetes-release-calendar
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from moto.eks.exceptions import InvalidParameterException

DEFAULT = "1.36"
# Last days of standard and of extended support, which lasts a year longer.
SUPPORT = {
    "1.31": (date(2025, 11, 26), date(2026, 11, 26)),
    "1.32": (date(2026, 3, 23), date(2027, 3, 23)),
    "1.33": (date(2026, 7, 29), date(2027, 7, 29)),
    "1.34": (date(2026, 12, 2), date(2027, 12, 2)),
    "1.35": (date(2027, 3, 27), date(2028, 3, 27)),
    "1.36": (date(2027, 8, 2), date(2028, 8, 2)),
}


def status(version: str, today: date) -> str:
    """The API's versionStatus."""
    dates = SUPPORT.get(version)
    if dates is None or dates[1] < today:
        return "UNSUPPORTED"
    return "EXTENDED_SUPPORT" if dates[0] < today else "STANDARD_SUPPORT"


def check(version: str, today: date) -> None:
    """Raise InvalidParameterException for a version that EKS does not have, or no longer."""
    if status(version, today) == "UNSUPPORTED":
        raise InvalidParameterException(message=f"unsupported Kubernetes version {version}")


def check_update(present: str, wanted: str) -> None:
    """Raise InvalidParameterException unless the version is the next minor one."""
    if wanted not in SUPPORT:
        raise InvalidParameterException(message=f"unsupported Kubernetes version {wanted}")
    if _minor(wanted) != _minor(present) + 1:
        raise InvalidParameterException(
            message=f"Unsupported Kubernetes minor version update from {present} to {wanted}"
        )


def check_nodes(wanted: str, nodes: str, cluster: str) -> None:
    """Raise InvalidParameterException for nodes newer than their cluster, or older than they are."""
    if wanted not in SUPPORT:
        raise InvalidParameterException(message=f"unsupported Kubernetes version {wanted}")
    if not _minor(nodes) <= _minor(wanted) <= _minor(cluster):
        raise InvalidParameterException(
            message=f"Requested Kubernetes version {wanted} of the node group, which has {nodes}, "
            f"is not valid for a cluster of version {cluster}"
        )


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def descriptions(versions: Iterable[str] | None, today: date) -> list[dict[str, Any]]:
    """DescribeClusterVersions: the supported ones, or those asked for; the newest first."""
    wanted = [each for each in versions if each in SUPPORT] if versions else list(SUPPORT)
    found = []
    for version in sorted(wanted, key=_minor, reverse=True):
        ends = [datetime(each.year, each.month, each.day, tzinfo=UTC) for each in SUPPORT[version]]
        answer = {
            "clusterVersion": version,
            "clusterType": "eks",
            "defaultVersion": version == DEFAULT,
            "versionStatus": status(version, today),
            "endOfStandardSupportDate": ends[0],
            "endOfExtendedSupportDate": ends[1],
        }
        if versions or answer["versionStatus"] != "UNSUPPORTED":
            found.append(answer)
    return found
