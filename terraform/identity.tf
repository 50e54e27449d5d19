# Roles that pods and the IoT rule take, each allowed exactly what it does.

# Service accounts' tokens are accepted by IAM (IRSA).
resource "aws_iam_openid_connect_provider" "cluster" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]

  tags = { Name = var.name }
}

locals {
  issuer = trimprefix(aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")

  # IoT Core for this account alone: else another account's rule could name a role.
  iot_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "iot.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })

  # One service account of this cluster, and no other, may take a role.
  service_account_trust = {
    for role, service_account in {
      receiver                 = "${var.namespace}:${var.service_account}"
      redrive                  = "${var.namespace}:${var.service_account}-redrive"
      readings                 = "${var.namespace}:${var.service_account}-readings"
      load_balancer_controller = var.load_balancer_controller_service_account
      karpenter                = "kube-system:karpenter"
      ebs_csi_driver           = "kube-system:ebs-csi-controller-sa" # the add-on's own
      } : role => jsonencode({
        Version = "2012-10-17"
        Statement = [{
          Effect    = "Allow"
          Action    = "sts:AssumeRoleWithWebIdentity"
          Principal = { Federated = aws_iam_openid_connect_provider.cluster.arn }
          Condition = { StringEquals = {
            "${local.issuer}:aud" = "sts.amazonaws.com"
            "${local.issuer}:sub" = "system:serviceaccount:${service_account}"
          } }
        }]
    })
  }
}

# --- The receiver's pods

resource "aws_iam_role" "receiver" {
  name               = "${var.name}-pod"
  description        = "The receiver's pods: write rows, keep what is invalid, confirm IoT Core's destination"
  assume_role_policy = local.service_account_trust["receiver"]
}

resource "aws_iam_role_policy" "receiver" {
  role = aws_iam_role.receiver.name
  name = "receiver"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Rows"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"]
        Resource = aws_dynamodb_table.readings.arn
      },
      {
        Sid      = "DeadLetters"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.dead_letters["receiver"].arn
      },
      {
        # Counted for an alert; nothing can be read or taken with it.
        Sid      = "WaitingDeadLetters"
        Effect   = "Allow"
        Action   = "sqs:GetQueueAttributes"
        Resource = [aws_sqs_queue.dead_letters["receiver"].arn, aws_sqs_queue.dead_letters["rule"].arn]
      },
      {
        # A destination's id is AWS's choice, so no narrower name can be given.
        Sid      = "Confirmation"
        Effect   = "Allow"
        Action   = "iot:ConfirmTopicRuleDestination"
        Resource = "arn:${local.partition}:iot:${var.region}:${local.account_id}:ruledestination/http/*"
      },
    ]
  })
}

# --- The redrive's pod

# Its own, so that pods which the internet reaches can't take dead letters away.
resource "aws_iam_role" "redrive" {
  name               = "${var.name}-redrive"
  description        = "The redrive: take dead letters, write their rows"
  assume_role_policy = local.service_account_trust["redrive"]
}

resource "aws_iam_role_policy" "redrive" {
  role = aws_iam_role.redrive.name
  name = "redrive"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Rows"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:Query"]
        Resource = aws_dynamodb_table.readings.arn
      },
      {
        Sid    = "DeadLetters"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility",
          "sqs:DeleteMessage",
          "sqs:GetQueueAttributes",
          "sqs:ReceiveMessage",
        ]
        Resource = [aws_sqs_queue.dead_letters["receiver"].arn, aws_sqs_queue.dead_letters["rule"].arn]
      },
    ]
  })
}

# --- The readings' pod

# Its own, so that pods which the internet reaches can't look through the table, and people who look can't write.
resource "aws_iam_role" "readings" {
  name               = "${var.name}-readings"
  description        = "The readings' pod: query rows, list things"
  assume_role_policy = local.service_account_trust["readings"]
}

resource "aws_iam_role_policy" "readings" {
  role = aws_iam_role.readings.name
  name = "readings"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Rows"
        Effect   = "Allow"
        Action   = "dynamodb:Query"
        Resource = aws_dynamodb_table.readings.arn
      },
      {
        # Has no resource: Service Authorization Reference, AWS IoT.
        Sid      = "Devices"
        Effect   = "Allow"
        Action   = "iot:ListThings"
        Resource = "*"
      },
    ]
  })
}

# --- The load balancer controller

resource "aws_iam_role" "load_balancer_controller" {
  name               = "${var.name}-load-balancer-controller"
  description        = "The AWS Load Balancer Controller of the EKS cluster ${var.name}"
  assume_role_policy = local.service_account_trust["load_balancer_controller"]
}

# The controller's own list, as its authors publish it: see policies/README.md.
resource "aws_iam_role_policy" "load_balancer_controller" {
  role = aws_iam_role.load_balancer_controller.name
  name = "load-balancer-controller"

  policy = replace(
    jsonencode(jsondecode(file("${path.module}/policies/load_balancer_controller.json"))),
    "arn:aws:", "arn:${local.partition}:"
  )
}

# --- The IoT rule

resource "aws_iam_role" "rule" {
  name        = "${var.name}-rule"
  description = "The IoT rule ${var.rule_name}: read the shared secret, keep what could not be delivered"

  assume_role_policy = local.iot_trust
}

resource "aws_iam_role_policy" "rule" {
  role = aws_iam_role.rule.name
  name = "rule"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "DeadLetters"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.dead_letters["rule"].arn
      },
      {
        # Both are what get_secret() asks for: AWS IoT Core Developer Guide, SQL functions.
        Sid      = "Secret"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = aws_secretsmanager_secret.receiver.arn
      },
    ]
  })
}

# --- The EBS CSI driver, where cluster_addons names it

# Without a role the add-on stays DEGRADED, since pods cannot take the nodes'.
resource "aws_iam_role" "ebs_csi_driver" {
  count = contains(keys(var.cluster_addons), "aws-ebs-csi-driver") ? 1 : 0

  name               = "${var.name}-ebs-csi-driver"
  description        = "EBS CSI driver of the EKS cluster ${var.name}: make volumes"
  assume_role_policy = local.service_account_trust["ebs_csi_driver"]
}

resource "aws_iam_role_policy_attachment" "ebs_csi_driver" {
  count = length(aws_iam_role.ebs_csi_driver)

  role       = aws_iam_role.ebs_csi_driver[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}
