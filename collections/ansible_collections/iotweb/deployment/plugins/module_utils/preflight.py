# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How preflight's modules ask AWS, and what they ask for."""

from typing import Any

# A question, not work: a service that does not answer soon will not.
IMPATIENT: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}
# IAM's condition keys of what a permission may name beside its actions.
CONDITIONS = {"passed_to": "iam:PassedToService", "linked_to": "iam:AWSServiceName"}
