# A private API is reached by those named alone; and what IoT Core logs.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"

  cluster_public_access_cidrs = []
}

run "from_connected_networks_alone" {
  variables {
    cluster_private_access_cidrs = ["10.30.4.0/24", "10.20.0.0/16"]
    iot_log_level                = "ERROR"
  }

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The API must be private."
  }

  assert {
    condition = alltrue([
      for cidr, rule in aws_vpc_security_group_ingress_rule.cluster_api :
      rule.security_group_id == "sg-00000000000000000" && rule.cidr_ipv4 == cidr && rule.ip_protocol == "tcp" && rule.from_port == 443 && rule.to_port == 443
    ]) && toset(keys(aws_vpc_security_group_ingress_rule.cluster_api)) == toset(["10.30.4.0/24", "10.20.0.0/16"])
    error_message = "The cluster's group must admit exactly these to the API."
  }

  assert {
    condition     = aws_iot_logging_options.this[0].default_log_level == "ERROR" && !aws_iot_logging_options.this[0].disable_all_logs && aws_iot_logging_options.this[0].role_arn == aws_iam_role.iot_logging[0].arn
    error_message = "IoT Core must log errors by its role."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.iot_logging[0].policy).Statement[0].Resource == "arn:aws:logs:us-east-2:123456789012:log-group:AWSIotLogsV2*"
    error_message = "The role must write IoT Core's log group and no other."
  }
}

run "from_nowhere" {
  command = plan

  expect_failures = [var.cluster_private_access_cidrs]
}
