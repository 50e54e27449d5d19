"""Reads the state from ELBv2's and Route 53's public APIs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import state as s


class Source:
    """A view of one account and region.

    :raises botocore.exceptions.BotoCoreError, ClientError: from every method, when the API fails.
    """

    def __init__(self, elbv2: Any, route53: Any) -> None:  # boto3 makes its clients' types at run time
        self._elbv2 = elbv2
        self._route53 = route53
        self._policies: dict[str, s.Policy] = {}

    def read(self) -> s.State:
        """Everything: load balancers with their listeners, rules and names, groups with their targets."""
        balancers = [
            lb
            for lb in self._pages(self._elbv2, "describe_load_balancers", "LoadBalancers")
            if lb["Type"] == "application"
        ]
        balancers.sort(key=lambda lb: (str(lb.get("CreatedTime")), lb["LoadBalancerArn"]))
        followed = tuple(self._load_balancer(lb) for lb in balancers)
        names = aliases([lb.dns_name for lb in followed], self._records()) if followed else {}
        used = {
            rule.action.group
            for lb in followed
            for listener in lb.listeners
            for rule in listener.rules
            if isinstance(rule.action, s.Forward)
        }
        groups = self._pages(self._elbv2, "describe_target_groups", "TargetGroups") if used else iter(())
        return s.State(
            load_balancers=tuple(replace(lb, aliases=names[lb.dns_name]) for lb in followed),
            target_groups={
                group["TargetGroupArn"]: self._target_group(group)
                for group in groups
                if group["TargetGroupArn"] in used
            },
            policies=self._policies_of(followed),
        )

    def _load_balancer(self, data: Mapping[str, Any]) -> s.LoadBalancer:
        arn = data["LoadBalancerArn"]
        attributes = self._elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
        listeners = self._pages(self._elbv2, "describe_listeners", "Listeners", LoadBalancerArn=arn)
        return s.LoadBalancer(
            name=data["LoadBalancerName"],
            dns_name=normal(data["DNSName"]),
            attributes={item["Key"]: item["Value"] for item in attributes},
            listeners=tuple(self._listener(item) for item in sorted(listeners, key=lambda x: x["Port"])),
        )

    def _listener(self, data: Mapping[str, Any]) -> s.Listener:
        arn = data["ListenerArn"]
        rules = [
            s.Rule(
                priority=rule["Priority"],
                conditions=tuple(condition(item) for item in rule["Conditions"]),
                action=action(rule["Actions"]),
            )
            for rule in self._pages(self._elbv2, "describe_rules", "Rules", ListenerArn=arn)
        ]
        rules.sort(key=lambda rule: (rule.priority == "default", int(rule.priority.replace("default", "0"))))
        return s.Listener(
            port=data["Port"],
            protocol=data["Protocol"],
            rules=tuple(rules),
            policy=data.get("SslPolicy", ""),
            certificates=self._certificates(data) if data["Protocol"] == "HTTPS" else (),
        )

    def _certificates(self, listener: Mapping[str, Any]) -> tuple[str, ...]:
        pages = self._elbv2.describe_listener_certificates(ListenerArn=listener["ListenerArn"])
        arns = [item["CertificateArn"] for item in listener.get("Certificates", [])]
        arns += [item["CertificateArn"] for item in pages["Certificates"]]
        return tuple(dict.fromkeys(arn.rpartition("/")[2] for arn in arns))

    def _target_group(self, data: Mapping[str, Any]) -> s.TargetGroup:
        arn = data["TargetGroupArn"]
        attributes = self._elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        return s.TargetGroup(
            arn=arn,
            name=data["TargetGroupName"],
            protocol=data["Protocol"],
            attributes={item["Key"]: item["Value"] for item in attributes},
            targets=self._targets(arn) if data["TargetType"] == "ip" else (),
        )

    def _targets(self, arn: str) -> tuple[s.Target, ...]:
        answer = self._elbv2.describe_target_health(TargetGroupArn=arn)
        return tuple(
            sorted(
                s.Target(item["Target"]["Id"], item["Target"]["Port"], item["TargetHealth"]["State"])
                for item in answer["TargetHealthDescriptions"]
            )
        )

    def _policies_of(self, balancers: tuple[s.LoadBalancer, ...]) -> dict[str, s.Policy]:
        # A policy never changes under its name, so each is asked for once.
        wanted = {listener.policy for lb in balancers for listener in lb.listeners if listener.policy}
        if missing := sorted(wanted - self._policies.keys()):
            answer = self._elbv2.describe_ssl_policies(Names=missing)
            for policy in answer["SslPolicies"]:
                self._policies[policy["Name"]] = s.Policy(
                    tuple(policy["SslProtocols"]), tuple(cipher["Name"] for cipher in policy["Ciphers"])
                )
        return {name: self._policies[name] for name in sorted(wanted & self._policies.keys())}

    def _records(self) -> list[Mapping[str, Any]]:
        return [
            record
            for zone in self._pages(self._route53, "list_hosted_zones", "HostedZones")
            for record in self._pages(
                self._route53, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]
            )
            if record["Type"] in {"A", "AAAA", "CNAME"}
        ]

    @staticmethod
    def _pages(client: Any, operation: str, key: str, **arguments: str) -> Iterator[Mapping[str, Any]]:
        for page in client.get_paginator(operation).paginate(**arguments):
            yield from page[key]


def normal(name: str) -> str:
    """A DNS name as it is compared: lower case, no final dot, Route 53's escape of ``*`` undone."""
    return name.lower().rstrip(".").replace("\\052", "*")


def aliases(balancers: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """For each load balancer's DNS name, the records that lead to it, over any number of CNAMEs.

    Wildcards are left out: /etc/hosts, which serves the names here, has none.
    """
    leads: dict[str, set[str]] = {}
    for record in records:
        values = [item["Value"] for item in record.get("ResourceRecords", []) if record["Type"] == "CNAME"]
        values += [record["AliasTarget"]["DNSName"]] if "AliasTarget" in record else []
        for value in values:
            leads.setdefault(normal(value).removeprefix("dualstack."), set()).add(normal(record["Name"]))
    found = {}
    for balancer in balancers:
        names: set[str] = set()
        front = {balancer}
        while front := {name for end in front for name in leads.get(end, ())} - names:
            names |= front
        found[balancer] = tuple(sorted(name for name in names if "*" not in name))
    return found


def condition(data: Mapping[str, Any]) -> s.Condition:
    """A rule's condition, from either form in which ELBv2 gives it (``Values`` or ``…Config``)."""
    field = data["Field"]
    configs = {"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig"}
    config = data.get(configs.get(field, "")) or {}
    return s.Condition(field, tuple(config.get("Values") or data.get("Values") or ()))


def action(data: Sequence[Mapping[str, Any]]) -> s.Action:
    """A rule's action. What cannot be carried out here (authentication, redirects) answers 501 and says so."""
    unknown = sorted({item["Type"] for item in data} - {"forward", "fixed-response"})
    if unknown:
        return s.FixedResponse(501, "text/plain", f"{', '.join(unknown)} is not carried out here")
    last = max(data, key=lambda item: item.get("Order", 0))
    if last["Type"] == "forward":
        groups = (last.get("ForwardConfig") or {}).get("TargetGroups") or [last]
        if len(groups) > 1:
            return s.FixedResponse(501, "text/plain", "forward to several target groups is not carried out here")
        return s.Forward(groups[0]["TargetGroupArn"])
    config = last["FixedResponseConfig"]
    return s.FixedResponse(
        int(config["StatusCode"]), config.get("ContentType") or "text/plain", config.get("MessageBody") or ""
    )
