# What AWS would answer, where the provider checks its form or other resources need it.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["us-east-2a", "us-east-2b", "us-east-2c", "us-east-2d", "us-east-2e", "us-east-2f"] }
}

mock_data "aws_route53_zone" {
  defaults = { zone_id = "Z0000000000000" }
}

mock_data "aws_eks_addon_version" {
  defaults = { version = "v1.20.4-eksbuild.1" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-2:123456789012:key/00000000-0000-0000-0000-000000000000" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
}

mock_resource "aws_iam_openid_connect_provider" {
  defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE" }
}

mock_resource "aws_launch_template" {
  defaults = {
    id             = "lt-00000000000000000"
    latest_version = 1
  }
}

mock_resource "aws_eks_cluster" {
  defaults = {
    endpoint              = "https://EXAMPLE.gr7.us-east-2.eks.amazonaws.com"
    certificate_authority = [{ data = "bW9ja2Vk" }]
    vpc_config            = { cluster_security_group_id = "sg-00000000000000000" }
    identity              = [{ oidc = [{ issuer = "https://oidc.eks.us-east-2.amazonaws.com/id/EXAMPLE" }] }]
  }
}

mock_resource "aws_dynamodb_table" {
  defaults = { arn = "arn:aws:dynamodb:us-east-2:123456789012:table/mocked" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:us-east-2:123456789012:secret:mocked" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:us-east-2:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    domain_validation_options = [{
      domain_name           = "ingest.example.com"
      resource_record_name  = "_proof.ingest.example.com."
      resource_record_type  = "CNAME"
      resource_record_value = "_answer.acm-validations.aws."
    }]
  }
}
