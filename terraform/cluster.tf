# EKS: the control plane. Who may use it is decided by access entries (mode API), not by a ConfigMap.

resource "aws_kms_key" "cluster" {
  description             = "Secrets of the EKS cluster ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  tags = { Name = var.name }
}

# EKS would make it by itself, unbounded.
resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = var.cluster_log_retention_days
}

resource "aws_iam_role" "cluster" {
  name        = "${var.name}-cluster"
  description = "Control plane of the EKS cluster ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "eks.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_cluster" "this" {
  name     = var.name
  version  = var.cluster_version
  role_arn = aws_iam_role.cluster.arn

  enabled_cluster_log_types = ["api", "audit", "authenticator"]

  # EXTENDED, EKS's default, costs six times as much from the day on which standard support ends.
  upgrade_policy {
    support_type = "STANDARD"
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = true
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.cluster.arn
    }
  }

  vpc_config {
    subnet_ids              = aws_subnet.private[*].id
    endpoint_private_access = true
    endpoint_public_access  = length(var.cluster_public_access_cidrs) > 0
    public_access_cidrs     = length(var.cluster_public_access_cidrs) > 0 ? var.cluster_public_access_cidrs : null
  }

  depends_on = [
    aws_cloudwatch_log_group.cluster,
    aws_iam_role_policy_attachment.cluster,
    aws_route_table_association.private,
  ]
}

# EKS's own group admits its members only, which the nodes are. Without a rule, nobody reaches a private endpoint.
resource "aws_vpc_security_group_ingress_rule" "cluster_api" {
  for_each = var.cluster_private_access_cidrs

  security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  description       = "API of the cluster ${var.name}"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Who created the cluster, as kind and name of the role or user: a session's ARN lacks its role's path. EKS makes that
# administrator's access entry by itself, and refuses a second one with ResourceInUseException.
resource "terraform_data" "creator" {
  input = local.operator

  lifecycle { ignore_changes = [input] }
}

locals {
  # Kind, path and name; of a session: kind, role and session.
  operator_parts = split("/", try(split(":", data.aws_caller_identity.operator.arn)[5], ""))
  operator = join("/", local.operator_parts[0] == "assumed-role" ?
    ["role", local.operator_parts[1]] : [local.operator_parts[0], reverse(local.operator_parts)[0]]
  )

  cluster_admin_arns = toset([
    for arn in var.cluster_admin_arns : arn
    if "${split("/", split(":", arn)[5])[0]}/${reverse(split("/", arn))[0]}" != terraform_data.creator.input
  ])
}

resource "aws_eks_access_entry" "admin" {
  for_each = local.cluster_admin_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.key
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = local.cluster_admin_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.key].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

data "aws_eks_addon_version" "default" {
  for_each = var.cluster_addons

  addon_name         = each.key
  kubernetes_version = var.cluster_version
}

# EKS's default moves with time. An add-on moves with the cluster alone, so that a second run changes nothing.
resource "terraform_data" "addon_version" {
  for_each = var.cluster_addons

  input            = data.aws_eks_addon_version.default[each.key].version
  triggers_replace = var.cluster_version

  lifecycle { ignore_changes = [input] }
}

resource "aws_eks_addon" "this" {
  for_each = var.cluster_addons

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = coalesce(each.value.version, terraform_data.addon_version[each.key].input)
  configuration_values        = each.value.configuration
  service_account_role_arn    = each.key == "aws-ebs-csi-driver" ? aws_iam_role.ebs_csi_driver[0].arn : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.this, aws_iam_role_policy_attachment.ebs_csi_driver]
}
