# A small stack that takes what role terraform gives: it is the role that is tried here, not terraform/.
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Deployment = var.name }
  }
}
