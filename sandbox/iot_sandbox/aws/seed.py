"""What the account has before a deployment: the domain's public zone, which Terraform only looks up.

Made at every start of the emulator, since it keeps nothing over a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from moto.route53.models import route53_backends


def hosted_zones(account_id: str, names: Sequence[str]) -> None:
    """Make public hosted zones of these names."""
    backend = route53_backends[account_id]["aws"]
    for name in names:
        zone = f"{name.rstrip('.')}."
        backend.create_hosted_zone(
            zone, private_zone=False, caller_reference="sandbox", comment="Existed before the deployment"
        )
