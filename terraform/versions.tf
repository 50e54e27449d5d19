terraform {
  required_version = ">= 1.9" # validations that look at other variables

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# Credentials, profile and endpoints come from the environment (AWS_PROFILE, AWS_ENDPOINT_URL, ...).
provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id == "" ? null : [var.account_id]

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "operator" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.operator.account_id
  partition  = data.aws_partition.current.partition

  # "Deployment" also tells a resource of ours from another of the same name, when a run that was
  # killed left one behind that the state does not know.
  tags = merge(var.tags, {
    Deployment = var.name
    ManagedBy  = "terraform"
    Project    = "iot-receiver"
  })
}
