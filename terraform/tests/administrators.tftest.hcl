# Who administers the cluster, whoever runs Terraform. The runs share one state, in which the first one's creator stays.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"
}

# EKS makes its creator's access entry by itself, and refuses another.
run "creator_among_the_administrators" {
  override_data {
    target = data.aws_caller_identity.operator
    values = { account_id = "123456789012", arn = "arn:aws:sts::123456789012:assumed-role/Admin/ann@example.com" }
  }

  variables {
    cluster_admin_arns = [
      "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/Admin",
      "arn:aws:iam::123456789012:role/Operator",
      "arn:aws:iam::123456789012:user/Admin",
    ]
  }

  assert {
    condition = toset(keys(aws_eks_access_entry.admin)) == toset([
      "arn:aws:iam::123456789012:role/Operator", "arn:aws:iam::123456789012:user/Admin",
    ])
    error_message = "Everybody but the creator must get an access entry."
  }
}

# Run by another of them, the creator's is still left out, and the other's stays.
run "second_operator" {
  override_data {
    target = data.aws_caller_identity.operator
    values = { account_id = "123456789012", arn = "arn:aws:sts::123456789012:assumed-role/Operator/bob@example.com" }
  }

  variables {
    cluster_admin_arns = [
      "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/Admin",
      "arn:aws:iam::123456789012:role/Operator",
    ]
  }

  assert {
    condition     = toset(keys(aws_eks_access_entry.admin)) == toset(["arn:aws:iam::123456789012:role/Operator"])
    error_message = "The creator must be remembered, whoever runs Terraform."
  }
}
