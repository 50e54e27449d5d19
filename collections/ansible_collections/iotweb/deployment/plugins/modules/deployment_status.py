#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: deployment_status
version_added: 2.0.0
short_description: Look at each hop of a deployment
description:
  - Looks at cluster, receiver, domain, IoT Core, devices and queues, and compares them with what this checkout deploys.
  - What seems broken is looked at once more after some seconds, since a restart or a busy machine passes.
  - Changes nothing, and never fails for what it finds.
author:
  - IoT receiver contributors (@iotweb)
options:
  hops:
    description: What was found before, as members C(name), C(state), C(mark) and C(fix).
    type: list
    elements: dict
    default: []
  region:
    description: Region of the deployment.
    type: str
    required: true
  kubeconfig:
    description: File with the cluster's address and credentials.
    type: path
    required: true
  cluster:
    description: Name of the EKS cluster; empty for a cluster that is none.
    type: str
    default: ""
  controller:
    description: The load balancer controller, as C(name), C(namespace) and C(version).
    type: dict
    required: true
  monitoring:
    description: Monitoring, as C(namespace) and C(version); empty where it is switched off.
    type: dict
    default: {}
  receiver:
    description: The receiver, as C(name), C(namespace) and C(image).
    type: dict
    required: true
  domain:
    description:
      - The receiver's domain, as C(name) and C(ca_file).
      - C(missing) is what the domain's own name servers answer if they have no record of it, and empty otherwise.
    type: dict
    required: true
  iot:
    description: What IoT Core has, as C(url), C(rule), C(topic) and C(policy).
    type: dict
    required: true
  secret:
    description: ARN of the shared secret.
    type: str
    required: true
  table:
    description: The table's name.
    type: str
    required: true
  queues:
    description: URLs of the dead-letter queues by their names.
    type: dict
    default: {}
  devices:
    description: Things that publish, whose newest readings are looked at.
    type: list
    elements: str
    default: []
  things:
    description: Things whose certificates are looked at.
    type: list
    elements: str
    default: []
  limit:
    description: How many devices are looked at; each takes some calls.
    type: int
    default: 50
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Look at each hop
  iotweb.deployment.deployment_status:
    region: us-east-2
    kubeconfig: ~/.kube/config
    controller: {name: aws-load-balancer-controller, namespace: kube-system, version: 3.2.2}
    receiver: {name: iot-receiver, namespace: apps, image: "registry/iot-receiver:0123"}
    domain: {name: ingest.example.com, ca_file: ""}
    iot:
      url: https://ingest.example.com/ingest
      rule: forward_to_alb
      topic: things/telemetry
      policy: iot-thing-policy
    secret: arn:aws:secretsmanager:us-east-2:123456789012:secret:iot-receiver/secret-abcdef
    table: iot-readings
"""

RETURN = r"""
table:
  description: The hops as lines of text.
  type: list
  elements: str
  returned: always
verdict:
  description: The first broken hop with its fix; empty where none is.
  type: str
  returned: always
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.iotweb.deployment.plugins.module_utils import hops_account, hops_cluster
from ansible_collections.iotweb.deployment.plugins.module_utils.hops import BROKEN, NOTE, Hop, table, verdict

Look = Callable[[], "Hop | list[Hop]"]
BESIDE = ("readings", "dead letters", "monitoring")  # readings arrive without these
PAUSE = 10  # seconds until what seems broken is looked at again: a pod's readiness probe needs as long


def looks(given: dict[str, Any]) -> list[tuple[str, Look]]:
    """What to look at, in the order of a reading's way, with a name for each."""
    account = hops_account.Account(given["region"])
    cluster, receiver, iot = hops_cluster.Cluster(given["kubeconfig"]), given["receiver"], given["iot"]
    controller, monitoring = given["controller"], given["monitoring"]
    found: list[tuple[str, Look]] = []
    if given["cluster"]:
        found.append(("cluster", lambda: account.cluster(given["cluster"])))
    found += [
        ("nodes", cluster.nodes),
        ("controller", lambda: cluster.controller(controller["name"], controller["namespace"], controller["version"])),
        ("receiver", lambda: cluster.receiver(receiver["name"], receiver["namespace"], receiver["image"])),
        ("domain", lambda: hops_account.domain(**given["domain"])),
        ("destination", lambda: account.destination(iot["url"])),
        ("rule", lambda: account.rule(iot["rule"], iot["topic"])),
        ("policy", lambda: account.policy(iot["policy"])),
        ("secret", lambda: account.secret(given["secret"])),
        ("certificates", lambda: account.certificates(given["things"], given["limit"])),
        ("readings", lambda: account.readings(given["table"], given["devices"], given["limit"])),
        ("dead letters", lambda: account.dead_letters(given["queues"])),
    ]  # fmt: skip
    if monitoring:
        found.append(("monitoring", lambda: cluster.monitoring(monitoring["namespace"], monitoring["version"])))
    return found


def looked(name: str, look: Look) -> list[Hop]:
    """One look; what cannot be asked is broken, if readings pass it."""
    try:
        found = look()
    except Exception as error:  # noqa: BLE001 - AWS's, Kubernetes' and the network's errors have no common ancestor
        text = " ".join(str(error).split())[:300]
        return [Hop(name, "it could not be asked", NOTE if name in BESIDE else BROKEN, text)]
    return found if isinstance(found, list) else [found]


def looked_at(each: list[tuple[str, Look]]) -> list[Hop]:
    """All hops; those that seem broken are looked at twice."""
    found = [looked(*one) for one in each]
    broken = [place for place, hops in enumerate(found) if any(hop.mark == BROKEN for hop in hops)]
    if broken:
        time.sleep(PAUSE)
    for place in broken:
        found[place] = looked(*each[place])
    return [hop for hops in found for hop in hops]


def main() -> None:
    one = {"type": "dict", "required": True}
    module = AnsibleModule(
        argument_spec={
            "hops": {"type": "list", "elements": "dict", "default": []},
            "region": {"type": "str", "required": True},
            "kubeconfig": {"type": "path", "required": True},
            "cluster": {"type": "str", "default": ""},
            "controller": one,
            "monitoring": {"type": "dict", "default": {}},
            "receiver": one,
            "domain": one,
            "iot": one,
            "secret": {"type": "str", "required": True, "no_log": False},
            "table": {"type": "str", "required": True},
            "queues": {"type": "dict", "default": {}},
            "devices": {"type": "list", "elements": "str", "default": []},
            "things": {"type": "list", "elements": "str", "default": []},
            "limit": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    for library, error in (("boto3", hops_account.IMPORT_ERROR), ("kubernetes", hops_cluster.IMPORT_ERROR)):
        if error:
            module.fail_json(msg=missing_required_lib(library))
    hops = [Hop(**hop) for hop in module.params["hops"]] + looked_at(looks(module.params))
    module.exit_json(changed=False, table=table(hops), verdict=verdict(hops))


if __name__ == "__main__":
    main()
