# Ansible reads each of these as infrastructure_<name>.

output "account_id" {
  description = "Account that holds everything."
  value       = local.account_id
}

output "region" {
  description = "Region that holds everything."
  value       = var.region
}

output "partition" {
  description = "Partition of the region, such as aws."
  value       = local.partition
}

output "vpc_id" {
  description = "VPC of the cluster and of the load balancer."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the nodes, one in each zone."
  value       = aws_subnet.private[*].id
}

output "cluster_name" {
  description = "EKS cluster."
  value       = aws_eks_cluster.this.name
}

output "cluster_endpoint" {
  description = "URL of the cluster's API."
  value       = aws_eks_cluster.this.endpoint
}

output "cluster_certificate_authority" {
  description = "CA of the cluster's API, PEM in base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "cluster_security_group_id" {
  description = "EKS's own security group, whose members the nodes are."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_instance_profile" {
  description = "Instance profile of nodes that Karpenter adds."
  value       = aws_iam_instance_profile.node.name
}

output "oidc_provider_arn" {
  description = "IAM's provider for the cluster's service accounts."
  value       = aws_iam_openid_connect_provider.cluster.arn
}

output "certificate_arn" {
  description = "ACM certificate of the domain; issued, when the zone is given."
  value       = aws_acm_certificate.receiver.arn

  depends_on = [aws_acm_certificate_validation.receiver]
}

output "certificate_validation_record" {
  description = "Record that proves the domain to ACM: name, type and value. Made here when the zone is given; else make it where the domain's DNS is."
  value = {
    name  = local.validation.resource_record_name
    type  = local.validation.resource_record_type
    value = local.validation.resource_record_value
  }
}

output "zone_id" {
  description = "Route 53 zone of the domain; empty when its DNS is elsewhere."
  value       = try(data.aws_route53_zone.receiver[0].zone_id, "")
}

output "table_name" {
  description = "DynamoDB table of the readings."
  value       = aws_dynamodb_table.readings.name
}

output "table_arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.readings.arn
}

output "table_schema" {
  description = "What the table's sort key holds: message_time or receipt_time."
  value       = var.table_schema
}

output "rule_dead_letter_queue_url" {
  description = "Queue of what the rule could not deliver."
  value       = aws_sqs_queue.dead_letters["rule"].url
}

output "rule_dead_letter_queue_arn" {
  description = "ARN of the rule's queue."
  value       = aws_sqs_queue.dead_letters["rule"].arn
}

output "receiver_dead_letter_queue_url" {
  description = "Queue of what the receiver found invalid inside arrays."
  value       = aws_sqs_queue.dead_letters["receiver"].url
}

output "receiver_dead_letter_queue_arn" {
  description = "ARN of the receiver's queue."
  value       = aws_sqs_queue.dead_letters["receiver"].arn
}

output "secret_arn" {
  description = "Secret shared by the rule and the receiver."
  value       = aws_secretsmanager_secret.receiver.arn
}

output "secret_name" {
  description = "Name of the secret."
  value       = aws_secretsmanager_secret.receiver.name
}

output "receiver_role_arn" {
  description = "Role of the receiver's pods."
  value       = aws_iam_role.receiver.arn
}

output "redrive_role_arn" {
  description = "Role of the redrive's pod."
  value       = aws_iam_role.redrive.arn
}

output "readings_role_arn" {
  description = "Role of the readings' pod."
  value       = aws_iam_role.readings.arn
}

output "load_balancer_controller_role_arn" {
  description = "Role of the load balancer controller."
  value       = aws_iam_role.load_balancer_controller.arn
}

output "karpenter_role_arn" {
  description = "Role of Karpenter, which adds nodes."
  value       = aws_iam_role.karpenter.arn
}

output "rule_role_arn" {
  description = "Role that the IoT rule takes for its error action and to read the secret."
  value       = aws_iam_role.rule.arn
}
