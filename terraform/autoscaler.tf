# What Karpenter needs to add nodes and take them away. Made always: a run without receiver_autoscaling still removes nodes.

# EC2NodeClass names it, so that Karpenter needs no right to make profiles.
resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-node"
  role = aws_iam_role.node.name
}

resource "aws_iam_role" "karpenter" {
  name               = "${var.name}-karpenter"
  description        = "Karpenter of the EKS cluster ${var.name}: add and remove nodes"
  assume_role_policy = local.service_account_trust["karpenter"]
}

locals {
  ec2     = "arn:${local.partition}:ec2:${var.region}:${local.account_id}"
  created = [for kind in ["fleet", "instance", "launch-template", "network-interface", "volume"] : "${local.ec2}:${kind}/*"]

  # Karpenter sets these tags on all that it makes; a launch template that only validates has an empty nodepool.
  karpenter_owns = { for of in ["Request", "Resource"] : of => {
    StringEquals = { "aws:${of}Tag/kubernetes.io/cluster/${var.name}" = "owned" }
    StringLike   = { "aws:${of}Tag/karpenter.sh/nodepool" = "*" }
  } }
}

# Its authors' policy (https://karpenter.sh/docs/reference/cloudformation) without what version 1.13.1 does not call here: it
# makes no profiles, and has no queue of interruptions, since all nodes are on-demand instances.
resource "aws_iam_role_policy" "karpenter" {
  role = aws_iam_role.karpenter.name
  name = "karpenter"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "LaunchFrom"
        Effect = "Allow"
        Action = ["ec2:CreateFleet", "ec2:RunInstances"]
        Resource = concat(
          ["arn:${local.partition}:ec2:${var.region}::image/*", "arn:${local.partition}:ec2:${var.region}::snapshot/*"],
          aws_subnet.private[*].arn,
          ["${local.ec2}:security-group/${aws_eks_cluster.this.vpc_config[0].cluster_security_group_id}"],
        )
      },
      {
        Sid       = "LaunchFromItsTemplates"
        Effect    = "Allow"
        Action    = ["ec2:CreateFleet", "ec2:RunInstances"]
        Resource  = "${local.ec2}:launch-template/*"
        Condition = local.karpenter_owns["Resource"]
      },
      {
        Sid       = "Launch"
        Effect    = "Allow"
        Action    = ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
        Resource  = local.created
        Condition = local.karpenter_owns["Request"]
      },
      {
        Sid      = "TagWhatItLaunches"
        Effect   = "Allow"
        Action   = "ec2:CreateTags"
        Resource = local.created
        Condition = {
          StringEquals = merge(local.karpenter_owns["Request"].StringEquals, {
            "ec2:CreateAction" = ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]
          })
          StringLike = local.karpenter_owns["Request"].StringLike
        }
      },
      {
        Sid      = "NameItsInstances"
        Effect   = "Allow"
        Action   = "ec2:CreateTags"
        Resource = "${local.ec2}:instance/*"
        Condition = merge(local.karpenter_owns["Resource"], {
          "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name", "eks:eks-cluster-name", "karpenter.sh/nodeclaim"] }
        })
      },
      {
        Sid       = "Remove"
        Effect    = "Allow"
        Action    = ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"]
        Resource  = ["${local.ec2}:instance/*", "${local.ec2}:launch-template/*"]
        Condition = local.karpenter_owns["Resource"]
      },
      {
        Sid    = "Read"
        Effect = "Allow"
        Action = [
          "ec2:DescribeCapacityReservations",
          "ec2:DescribeImages",
          "ec2:DescribeInstanceStatus",
          "ec2:DescribeInstanceTypeOfferings",
          "ec2:DescribeInstanceTypes",
          "ec2:DescribeInstances",
          "ec2:DescribeLaunchTemplates",
          "ec2:DescribePlacementGroups",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeSpotPriceHistory",
          "ec2:DescribeSubnets",
        ]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
      },
      {
        # Its API is in few regions (us-east-1 for most).
        Sid      = "Prices"
        Effect   = "Allow"
        Action   = "pricing:GetProducts"
        Resource = "*"
      },
      {
        Sid      = "Images"
        Effect   = "Allow"
        Action   = "ssm:GetParameter"
        Resource = "arn:${local.partition}:ssm:${var.region}::parameter/aws/service/eks/optimized-ami/*"
      },
      {
        Sid      = "Cluster"
        Effect   = "Allow"
        Action   = "eks:DescribeCluster"
        Resource = aws_eks_cluster.this.arn
      },
      {
        Sid       = "NodeRole"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = aws_iam_role.node.arn
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
      },
      {
        # Looked for before an EC2NodeClass goes, by names that Karpenter would give: refused, the EC2NodeClass would stay.
        Sid      = "ItsProfiles"
        Effect   = "Allow"
        Action   = "iam:GetInstanceProfile"
        Resource = "arn:${local.partition}:iam::${local.account_id}:instance-profile/${var.name}_*"
      },
      {
        Sid      = "Profiles"
        Effect   = "Allow"
        Action   = "iam:ListInstanceProfiles"
        Resource = "*"
      },
    ]
  })
}
