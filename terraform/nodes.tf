# The nodes that are always there: one managed group over all zones. autoscaler.tf has what adds others under load.

locals {
  node_ami_type       = coalesce(var.node_ami_type, var.architecture == "arm64" ? "AL2023_ARM_64_STANDARD" : "AL2023_x86_64_STANDARD")
  node_instance_types = length(var.node_instance_types) > 0 ? var.node_instance_types : [var.architecture == "arm64" ? "m7g.large" : "m6i.large"]

  # Whatever EKS cannot change in a group is in its name, so that the next group can be made beside it. A random name
  # would not be found again after an apply that was killed.
  node_group = "default-${substr(sha1(jsonencode([local.node_ami_type, local.node_instance_types, local.zones])), 0, 8)}"
}

resource "aws_iam_role" "node" {
  name        = "${var.name}-node"
  description = "Nodes of the EKS cluster ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset([
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
    "AmazonEKSWorkerNodePolicy",
  ])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

resource "aws_launch_template" "node" {
  name        = "${var.name}-node"
  description = "Nodes of the EKS cluster ${var.name}"

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      encrypted             = true
      volume_size           = var.node_disk_gib
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  # One hop: a pod cannot reach the metadata service and take the node's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${var.name}-node" })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { Name = "${var.name}-node" })
  }
}

resource "aws_eks_node_group" "this" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = local.node_group
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = aws_subnet.private[*].id
  version         = aws_eks_cluster.this.version
  ami_type        = local.node_ami_type
  instance_types  = local.node_instance_types

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = var.node_count.min
    max_size     = var.node_count.max
    desired_size = var.node_count.desired
  }

  update_config {
    max_unavailable = 1
  }

  # The new nodes are ready before the old group is deleted, for which EKS drains its nodes.
  lifecycle {
    create_before_destroy = true

    ignore_changes = [scaling_config[0].desired_size] # the operator's, once it stands
  }

  depends_on = [aws_iam_role_policy_attachment.node]
}
