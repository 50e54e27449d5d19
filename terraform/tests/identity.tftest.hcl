# Who may take which role, and what each may do: word for word, so that nothing is granted unseen.

mock_provider "aws" {
  source = "./tests/mocks"
}

# Values of their own for what the policies name, so that a mix-up shows.
override_resource {
  target = aws_dynamodb_table.readings
  values = { arn = "arn:aws:dynamodb:us-east-2:123456789012:table/iot-readings" }
}

override_resource {
  target = aws_sqs_queue.dead_letters["receiver"]
  values = { arn = "arn:aws:sqs:us-east-2:123456789012:receiver" }
}

override_resource {
  target = aws_sqs_queue.dead_letters["rule"]
  values = { arn = "arn:aws:sqs:us-east-2:123456789012:rule" }
}

override_resource {
  target = aws_secretsmanager_secret.receiver
  values = { arn = "arn:aws:secretsmanager:us-east-2:123456789012:secret:iot-receiver/secret-AbCdEf" }
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"
}

run "receiver" {
  assert {
    condition = jsondecode(aws_iam_role_policy.receiver.policy) == {
      Version = "2012-10-17"
      Statement = [
        {
          Sid      = "Rows"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"]
          Resource = "arn:aws:dynamodb:us-east-2:123456789012:table/iot-readings"
        },
        {
          Sid      = "DeadLetters"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = "arn:aws:sqs:us-east-2:123456789012:receiver"
        },
        {
          Sid      = "WaitingDeadLetters"
          Effect   = "Allow"
          Action   = "sqs:GetQueueAttributes"
          Resource = ["arn:aws:sqs:us-east-2:123456789012:receiver", "arn:aws:sqs:us-east-2:123456789012:rule"]
        },
        {
          Sid      = "Confirmation"
          Effect   = "Allow"
          Action   = "iot:ConfirmTopicRuleDestination"
          Resource = "arn:aws:iot:us-east-2:123456789012:ruledestination/http/*"
        },
      ]
    }
    error_message = "The receiver may write and query its table, send to its queue, count dead letters and confirm destinations, nothing else."
  }

  assert {
    condition = jsondecode(aws_iam_role.receiver.assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Action    = "sts:AssumeRoleWithWebIdentity"
        Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE" }
        Condition = { StringEquals = {
          "oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:aud" = "sts.amazonaws.com"
          "oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub" = "system:serviceaccount:apps:iot-receiver"
        } }
      }]
    }
    error_message = "Only the service account apps/iot-receiver may take the receiver's role."
  }
}

run "redrive" {
  assert {
    condition = jsondecode(aws_iam_role_policy.redrive.policy) == {
      Version = "2012-10-17"
      Statement = [
        {
          Sid      = "Rows"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:Query"]
          Resource = "arn:aws:dynamodb:us-east-2:123456789012:table/iot-readings"
        },
        {
          Sid    = "DeadLetters"
          Effect = "Allow"
          Action = [
            "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
          ]
          Resource = ["arn:aws:sqs:us-east-2:123456789012:receiver", "arn:aws:sqs:us-east-2:123456789012:rule"]
        },
      ]
    }
    error_message = "The redrive may read and write rows and take dead letters, nothing else."
  }

  assert {
    condition     = jsondecode(aws_iam_role.redrive.assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub"] == "system:serviceaccount:apps:iot-receiver-redrive"
    error_message = "Only the service account apps/iot-receiver-redrive may take the redrive's role."
  }
}

run "rule" {
  assert {
    condition = jsondecode(aws_iam_role_policy.rule.policy) == {
      Version = "2012-10-17"
      Statement = [
        {
          Sid      = "DeadLetters"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = "arn:aws:sqs:us-east-2:123456789012:rule"
        },
        {
          Sid      = "Secret"
          Effect   = "Allow"
          Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
          Resource = "arn:aws:secretsmanager:us-east-2:123456789012:secret:iot-receiver/secret-AbCdEf"
        },
      ]
    }
    error_message = "The rule may use its queue and read its secret, nothing else."
  }

  assert {
    condition = jsondecode(aws_iam_role.rule.assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = "iot.amazonaws.com" }
        Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      }]
    }
    error_message = "Only IoT Core, acting for this account, may take the rule's role."
  }
}

run "load_balancer_controller" {
  assert {
    condition     = jsondecode(aws_iam_role_policy.load_balancer_controller.policy) == jsondecode(file("./policies/load_balancer_controller.json"))
    error_message = "The controller's policy must be its authors'."
  }

  assert {
    condition     = jsondecode(aws_iam_role.load_balancer_controller.assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub"] == "system:serviceaccount:kube-system:aws-load-balancer-controller"
    error_message = "Only the controller's service account may take its role."
  }

  # IAM's limit for all inline policies of a role, white space not counted.
  assert {
    condition     = length(aws_iam_role_policy.load_balancer_controller.policy) <= 10240
    error_message = "The controller's policy is too long to be inline."
  }
}

run "other_partition" {
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov" }
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.load_balancer_controller.policy, "arn:aws:") && strcontains(aws_iam_role_policy.load_balancer_controller.policy, "arn:aws-us-gov:")
    error_message = "ARNs must be of the account's partition."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.cluster.policy_arn == "arn:aws-us-gov:iam::aws:policy/AmazonEKSClusterPolicy"
    error_message = "Managed policies must be of the account's partition."
  }
}

run "cluster_and_nodes" {
  assert {
    condition     = aws_iam_role_policy_attachment.cluster.policy_arn == "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    error_message = "The control plane gets EKS's own policy."
  }

  assert {
    condition = toset([for attachment in aws_iam_role_policy_attachment.node : attachment.policy_arn]) == toset([
      "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
      "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
      "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    ])
    error_message = "Nodes get what EKS needs of them, nothing else."
  }

  assert {
    condition     = jsondecode(aws_iam_role.cluster.assume_role_policy).Statement[0].Principal == { Service = "eks.amazonaws.com" } && jsondecode(aws_iam_role.node.assume_role_policy).Statement[0].Principal == { Service = "ec2.amazonaws.com" }
    error_message = "EKS takes the cluster's role, EC2 the nodes'."
  }
}

run "readings" {
  assert {
    condition = jsondecode(aws_iam_role_policy.readings.policy) == {
      Version = "2012-10-17"
      Statement = [
        {
          Sid      = "Rows"
          Effect   = "Allow"
          Action   = "dynamodb:Query"
          Resource = "arn:aws:dynamodb:us-east-2:123456789012:table/iot-readings"
        },
        {
          Sid      = "Devices"
          Effect   = "Allow"
          Action   = "iot:ListThings"
          Resource = "*"
        },
      ]
    }
    error_message = "The readings' pod may query rows and list things, nothing else."
  }

  assert {
    condition     = jsondecode(aws_iam_role.readings.assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub"] == "system:serviceaccount:apps:iot-receiver-readings"
    error_message = "Only the service account apps/iot-receiver-readings may take the readings' role."
  }
}

run "karpenter" {
  variables {
    zone_count = 6
  }

  # The deployment's nodes alone: every right to change something names the cluster's tag, its subnets or its security group.
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.karpenter.policy).Statement : statement.Sid => flatten([statement.Action]) } == {
      LaunchFrom             = ["ec2:CreateFleet", "ec2:RunInstances"]
      LaunchFromItsTemplates = ["ec2:CreateFleet", "ec2:RunInstances"]
      Launch                 = ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
      TagWhatItLaunches      = ["ec2:CreateTags"]
      NameItsInstances       = ["ec2:CreateTags"]
      Remove                 = ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"]
      Read = [
        "ec2:DescribeCapacityReservations", "ec2:DescribeImages", "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes", "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates", "ec2:DescribePlacementGroups", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSpotPriceHistory", "ec2:DescribeSubnets",
      ]
      Prices      = ["pricing:GetProducts"]
      Images      = ["ssm:GetParameter"]
      Cluster     = ["eks:DescribeCluster"]
      NodeRole    = ["iam:PassRole"]
      ItsProfiles = ["iam:GetInstanceProfile"]
      Profiles    = ["iam:ListInstanceProfiles"]
    }
    error_message = "Karpenter may launch, name and end instances, and read what that needs, nothing else."
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.karpenter.policy).Statement : statement.Sid => statement.Condition if can(statement.Condition) } == {
      LaunchFromItsTemplates = {
        StringEquals = { "aws:ResourceTag/kubernetes.io/cluster/iot-receiver" = "owned" }
        StringLike   = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" }
      }
      Launch = {
        StringEquals = { "aws:RequestTag/kubernetes.io/cluster/iot-receiver" = "owned" }
        StringLike   = { "aws:RequestTag/karpenter.sh/nodepool" = "*" }
      }
      TagWhatItLaunches = {
        StringEquals = {
          "aws:RequestTag/kubernetes.io/cluster/iot-receiver" = "owned"
          "ec2:CreateAction"                                  = ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]
        }
        StringLike = { "aws:RequestTag/karpenter.sh/nodepool" = "*" }
      }
      NameItsInstances = {
        StringEquals                = { "aws:ResourceTag/kubernetes.io/cluster/iot-receiver" = "owned" }
        StringLike                  = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name", "eks:eks-cluster-name", "karpenter.sh/nodeclaim"] }
      }
      Remove = {
        StringEquals = { "aws:ResourceTag/kubernetes.io/cluster/iot-receiver" = "owned" }
        StringLike   = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" }
      }
      Read     = { StringEquals = { "aws:RequestedRegion" = "us-east-2" } }
      NodeRole = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
    }
    error_message = "Karpenter may change what it launched for this cluster, and no other instance of the account."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.karpenter.policy).Statement[0].Resource == concat(
      ["arn:aws:ec2:us-east-2::image/*", "arn:aws:ec2:us-east-2::snapshot/*"],
      aws_subnet.private[*].arn,
      ["arn:aws:ec2:us-east-2:123456789012:security-group/sg-00000000000000000"],
    )
    error_message = "Nodes may be launched in the private subnets and the cluster's security group only."
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.karpenter.policy).Statement : statement.Sid => statement.Resource if startswith(flatten([statement.Action])[0], "iam:") } == {
      NodeRole    = aws_iam_role.node.arn
      ItsProfiles = "arn:aws:iam::123456789012:instance-profile/iot-receiver_*"
      Profiles    = "*"
    }
    error_message = "Karpenter may pass the nodes' role, and no other."
  }

  assert {
    condition     = length(aws_iam_role_policy.karpenter.policy) <= 10240
    error_message = "Karpenter's policy is too long to be inline."
  }

  assert {
    condition     = aws_iam_instance_profile.node.name == "iot-receiver-node" && aws_iam_instance_profile.node.role == aws_iam_role.node.name
    error_message = "Nodes that Karpenter adds must have the role of the others."
  }

  assert {
    condition     = jsondecode(aws_iam_role.karpenter.assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub"] == "system:serviceaccount:kube-system:karpenter"
    error_message = "Only the service account kube-system/karpenter may take Karpenter's role."
  }
}

run "other_service_accounts" {
  variables {
    namespace                                = "telemetry"
    service_account                          = "ingest"
    load_balancer_controller_service_account = "ingress:controller"
  }

  assert {
    condition = [for role in [aws_iam_role.receiver, aws_iam_role.redrive, aws_iam_role.readings, aws_iam_role.load_balancer_controller] :
      jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE:sub"]] == [
      "system:serviceaccount:telemetry:ingest",
      "system:serviceaccount:telemetry:ingest-redrive",
      "system:serviceaccount:telemetry:ingest-readings",
      "system:serviceaccount:ingress:controller",
    ]
    error_message = "Each role must trust the service account that was named, and no other."
  }
}
