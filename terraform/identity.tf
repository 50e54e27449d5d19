# Roles that pods and the IoT rule take, each allowed exactly what it does.

# Service accounts' tokens are accepted by IAM (IRSA).
resource "aws_iam_openid_connect_provider" "cluster" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]

  tags = { Name = var.name }
}

locals {
  issuer = trimprefix(aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")

  service_accounts = {
    receiver                 = "${var.namespace}:${var.service_account}"
    load_balancer_controller = "kube-system:aws-load-balancer-controller"
  }
}

data "aws_iam_policy_document" "service_account_trust" {
  for_each = local.service_accounts

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.cluster.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${each.value}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

# --- The receiver's pods

resource "aws_iam_role" "receiver" {
  name               = "${var.name}-pod"
  description        = "The receiver's pods: write rows, keep what is invalid, confirm IoT Core's destination"
  assume_role_policy = data.aws_iam_policy_document.service_account_trust["receiver"].json
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
        Action   = ["dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:Query"]
        Resource = aws_dynamodb_table.readings.arn
      },
      {
        Sid      = "DeadLetters"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.dead_letters["receiver"].arn
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

# --- The load balancer controller

resource "aws_iam_role" "load_balancer_controller" {
  name               = "${var.name}-load-balancer-controller"
  description        = "The AWS Load Balancer Controller of the EKS cluster ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.service_account_trust["load_balancer_controller"].json
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

data "aws_iam_policy_document" "rule_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["iot.amazonaws.com"]
    }

    # Else another account's rule could name this role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

resource "aws_iam_role" "rule" {
  name               = "${var.name}-rule"
  description        = "The IoT rule ${var.rule_name}: read the shared secret, keep what could not be delivered"
  assume_role_policy = data.aws_iam_policy_document.rule_trust.json
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
        Sid      = "Secret"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = aws_secretsmanager_secret.receiver.arn
      },
    ]
  })
}
