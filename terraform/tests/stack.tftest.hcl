# What stands with the defaults, without AWS: the provider is mocked.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"
}

run "defaults" {
  # --- Network

  assert {
    condition     = aws_subnet.private[*].cidr_block == ["10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20"]
    error_message = "Private subnets must be the first sixteenths of the VPC."
  }

  assert {
    condition     = aws_subnet.public[*].cidr_block == ["10.20.240.0/24", "10.20.241.0/24", "10.20.242.0/24"]
    error_message = "Public subnets must be cut from the last sixteenth of the VPC."
  }

  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 3 && aws_subnet.private[*].availability_zone == aws_subnet.public[*].availability_zone
    error_message = "Each zone must have one private and one public subnet."
  }

  assert {
    condition = alltrue([for subnet in aws_subnet.public : subnet.tags["kubernetes.io/role/elb"] == "1" && !contains(keys(subnet.tags), "kubernetes.io/role/internal-elb")]) && alltrue([
      for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1" && !contains(keys(subnet.tags), "kubernetes.io/role/elb")
    ])
    error_message = "Public subnets must be marked for public load balancers, private ones for internal ones."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && aws_nat_gateway.this[*].subnet_id == aws_subnet.public[*].id
    error_message = "Each zone must have its NAT gateway."
  }

  assert {
    condition     = [for association in aws_route_table_association.private : association.route_table_id] == aws_route_table.private[*].id
    error_message = "Each private subnet must leave by its own zone's NAT gateway."
  }

  assert {
    condition     = aws_vpc_endpoint.gateway["dynamodb"].service_name == "com.amazonaws.us-east-2.dynamodb" && toset(aws_vpc_endpoint.gateway["dynamodb"].route_table_ids) == toset(aws_route_table.private[*].id)
    error_message = "Rows must reach DynamoDB without the NAT gateways."
  }

  # --- Cluster

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.cluster_api) == 0 && aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "By default the API is reached over the internet, and the cluster's group stays as EKS made it."
  }

  assert {
    condition     = length(aws_iot_logging_options.this) == 0 && length(aws_iam_role.iot_logging) == 0
    error_message = "IoT Core's logging is the account's, and must be left alone unless asked for."
  }

  assert {
    condition     = aws_eks_cluster.this.name == "iot-receiver" && aws_eks_cluster.this.access_config[0].authentication_mode == "API"
    error_message = "The cluster must have the deployment's name and access entries."
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"]) && aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == aws_kms_key.cluster.arn && aws_kms_key.cluster.enable_key_rotation
    error_message = "Kubernetes secrets must be encrypted by a key that rotates."
  }

  assert {
    condition     = toset(aws_eks_cluster.this.enabled_cluster_log_types) == toset(["api", "audit", "authenticator"]) && aws_cloudwatch_log_group.cluster.retention_in_days == 30
    error_message = "The control plane must log, for a bounded time."
  }

  assert {
    condition     = toset(aws_eks_node_group.this.subnet_ids) == toset(aws_subnet.private[*].id)
    error_message = "Nodes belong into the private subnets."
  }

  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Pods must not reach the nodes' credentials."
  }

  assert {
    condition     = aws_launch_template.node.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "The nodes' disks must be encrypted."
  }

  assert {
    condition     = length(aws_iam_role.ebs_csi_driver) == 0
    error_message = "Without the EBS CSI driver there must be no role for it."
  }

  # --- Table

  assert {
    condition     = aws_dynamodb_table.readings.hash_key == "deviceId" && aws_dynamodb_table.readings.range_key == "Time" && aws_dynamodb_table.readings.billing_mode == "PAY_PER_REQUEST"
    error_message = "The table's keys are deviceId and Time, and it is paid by request."
  }

  assert {
    condition     = alltrue([for attribute in aws_dynamodb_table.readings.attribute : attribute.type == "S"])
    error_message = "Both keys are strings."
  }

  assert {
    condition     = aws_dynamodb_table.readings.point_in_time_recovery[0].enabled && aws_dynamodb_table.readings.server_side_encryption[0].enabled && aws_dynamodb_table.readings.deletion_protection_enabled
    error_message = "The table must be encrypted, restorable and protected from deletion."
  }

  assert {
    condition     = length(aws_dynamodb_table.readings.on_demand_throughput) == 0
    error_message = "By default only the account's quotas limit the table."
  }

  assert {
    condition     = aws_dynamodb_table.readings.ttl[0].enabled && aws_dynamodb_table.readings.ttl[0].attribute_name == "ttl"
    error_message = "Rows must expire by their attribute ttl."
  }

  # --- Queues, secret, certificate

  assert {
    condition     = alltrue([for queue in aws_sqs_queue.dead_letters : queue.sqs_managed_sse_enabled && queue.message_retention_seconds == 1209600]) && length(aws_sqs_queue.dead_letters) == 2
    error_message = "Both dead-letter queues must be encrypted and keep their messages for 14 days."
  }

  assert {
    condition     = aws_secretsmanager_secret.receiver.name == "iot-receiver/secret" && aws_secretsmanager_secret.receiver.recovery_window_in_days == 30
    error_message = "The secret must be restorable."
  }

  assert {
    condition     = aws_acm_certificate.receiver.domain_name == "ingest.example.com" && aws_acm_certificate.receiver.validation_method == "DNS"
    error_message = "The certificate must be the domain's, proven by DNS."
  }

  assert {
    condition     = aws_route53_record.validation[0].name == "_proof.ingest.example.com." && aws_route53_record.validation[0].records == toset(["_answer.acm-validations.aws."])
    error_message = "The record that proves the domain must be ACM's."
  }

  # --- Alarms

  assert {
    condition     = strcontains(tolist(aws_cloudwatch_metric_alarm.error_action_failure.metric_query)[0].expression, "SUM(ErrorActionFailure)") && strcontains(tolist(aws_cloudwatch_metric_alarm.error_action_failure.metric_query)[0].expression, "RuleName = 'forward_to_alb'")
    error_message = "Lost dead letters of the rule must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.rule_throttled.metric_name == "RuleMessageThrottled" && aws_cloudwatch_metric_alarm.rule_throttled.dimensions["RuleName"] == "forward_to_alb"
    error_message = "Throttling of the rule must raise an alarm."
  }

  assert {
    condition     = toset([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm.dimensions["QueueName"]]) == toset(["iot-receiver-receiver-dead-letters", "iot-receiver-rule-dead-letters"])
    error_message = "Waiting dead letters must raise an alarm on either queue."
  }

  # --- Outputs

  assert {
    condition = alltrue([for value in [
      output.account_id, output.region, output.partition, output.vpc_id, output.cluster_name, output.cluster_endpoint,
      output.cluster_certificate_authority, output.oidc_provider_arn, output.certificate_arn, output.zone_id,
      output.table_name, output.table_arn, output.table_schema, output.secret_arn, output.secret_name,
      output.rule_dead_letter_queue_url, output.rule_dead_letter_queue_arn,
      output.receiver_dead_letter_queue_url, output.receiver_dead_letter_queue_arn,
      output.receiver_role_arn, output.redrive_role_arn, output.readings_role_arn,
      output.load_balancer_controller_role_arn, output.karpenter_role_arn, output.rule_role_arn,
      output.private_subnet_ids, output.cluster_security_group_id, output.node_instance_profile,
    ] : length(value) > 0])
    error_message = "Every output must have a value."
  }

  assert {
    condition     = output.rule_dead_letter_queue_url == aws_sqs_queue.dead_letters["rule"].url && output.receiver_dead_letter_queue_url == aws_sqs_queue.dead_letters["receiver"].url
    error_message = "Each queue's output must be of that queue."
  }

  assert {
    condition     = local.tags == { Deployment = "iot-receiver", ManagedBy = "terraform", Project = "iot-receiver" }
    error_message = "Every resource is tagged with its deployment."
  }
}

run "two_zones_one_nat_gateway" {
  variables {
    vpc_cidr     = "10.244.0.0/16"
    zone_count   = 2
    nat_gateways = "single"
  }

  assert {
    condition     = aws_subnet.private[*].cidr_block == ["10.244.0.0/20", "10.244.16.0/20"]
    error_message = "Private subnet i begins at sixteenth i."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && alltrue([for association in aws_route_table_association.private : association.route_table_id == aws_route_table.private[0].id])
    error_message = "Both subnets must leave by the one NAT gateway."
  }
}

run "smallest_network" {
  variables {
    vpc_cidr   = "10.20.0.0/19"
    zone_count = 6
  }

  assert {
    condition     = aws_subnet.public[5].cidr_block == "10.20.30.160/27" && aws_subnet.private[5].cidr_block == "10.20.10.0/23"
    error_message = "A /19 must hold six zones, with public subnets large enough for a load balancer."
  }
}

run "dns_elsewhere" {
  variables {
    zone = ""
  }

  assert {
    condition     = length(aws_route53_record.validation) == 0 && length(aws_acm_certificate_validation.receiver) == 0 && output.zone_id == ""
    error_message = "Without a zone nothing may be written to Route 53 or waited for."
  }

  assert {
    condition     = output.certificate_validation_record == { name = "_proof.ingest.example.com.", type = "CNAME", value = "_answer.acm-validations.aws." }
    error_message = "Without a zone the record to make must be said."
  }
}

run "people_and_addons" {
  variables {
    cluster_admin_arns = ["arn:aws:iam::123456789012:role/ops"]
    cluster_addons     = { vpc-cni = { configuration = "{\"enableNetworkPolicy\":\"true\"}" }, aws-ebs-csi-driver = {} }
    alarm_topic_arn    = "arn:aws:sns:us-east-2:123456789012:ops"
    table_schema       = "receipt_time"
    table_limits       = { writes = 2000 }
  }

  assert {
    condition     = aws_dynamodb_table.readings.on_demand_throughput[0].max_write_request_units == 2000 && aws_dynamodb_table.readings.on_demand_throughput[0].max_read_request_units == -1
    error_message = "The table must have the limit that was set, and no other."
  }

  assert {
    condition     = aws_eks_access_policy_association.admin["arn:aws:iam::123456789012:role/ops"].policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    error_message = "Further administrators must get the cluster's admin policy."
  }

  assert {
    condition     = aws_eks_addon.this["vpc-cni"].configuration_values == "{\"enableNetworkPolicy\":\"true\"}"
    error_message = "An add-on must get its configuration."
  }

  assert {
    condition     = aws_eks_addon.this["aws-ebs-csi-driver"].service_account_role_arn == aws_iam_role.ebs_csi_driver[0].arn && aws_eks_addon.this["vpc-cni"].service_account_role_arn == null
    error_message = "The EBS CSI driver must get its role, or it stays DEGRADED."
  }

  assert {
    condition     = strcontains(aws_iam_role.ebs_csi_driver[0].assume_role_policy, "system:serviceaccount:kube-system:ebs-csi-controller-sa") && aws_iam_role_policy_attachment.ebs_csi_driver[0].policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
    error_message = "Only the driver's own service account may take its role, which may do what AWS says that it needs."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters["rule"].alarm_actions == toset(["arn:aws:sns:us-east-2:123456789012:ops"])
    error_message = "Alarms must reach the topic."
  }

  assert {
    condition     = output.table_schema == "receipt_time" && aws_dynamodb_table.readings.tags["Schema"] == "receipt_time"
    error_message = "The schema must be the chosen one."
  }
}
