# Add-ons follow the cluster's version, and nothing else.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"

  cluster_addons = {
    vpc-cni            = { configuration = "{}" }
    coredns            = { version = "v1.12.4-eksbuild.1" }
    aws-ebs-csi-driver = {}
  }
}

run "made" {
  assert {
    condition     = aws_eks_addon.this["vpc-cni"].addon_version == "v1.20.4-eksbuild.1"
    error_message = "An add-on must get EKS's default of the cluster's version."
  }

  assert {
    condition     = aws_eks_addon.this["coredns"].addon_version == "v1.12.4-eksbuild.1"
    error_message = "A version that is named must be taken."
  }
}

run "eks_has_a_newer_default" {
  override_data {
    target = data.aws_eks_addon_version.default
    values = { version = "v1.20.5-eksbuild.1" }
  }

  assert {
    condition     = aws_eks_addon.this["vpc-cni"].addon_version == "v1.20.4-eksbuild.1"
    error_message = "A second run must change nothing, whatever EKS's default is by then."
  }
}

run "the_cluster_is_upgraded" {
  variables {
    cluster_version = "1.37"
  }

  override_data {
    target = data.aws_eks_addon_version.default
    values = { version = "v1.21.0-eksbuild.1" }
  }

  assert {
    condition     = aws_eks_addon.this["vpc-cni"].addon_version == "v1.21.0-eksbuild.1" && aws_eks_addon.this["aws-ebs-csi-driver"].addon_version == "v1.21.0-eksbuild.1"
    error_message = "Add-ons must follow the cluster's version."
  }

  assert {
    condition     = aws_eks_addon.this["coredns"].addon_version == "v1.12.4-eksbuild.1"
    error_message = "A version that is named must stay."
  }
}
