# Nodes are replaced without an outage, and are of one architecture throughout.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"
}

run "before" {
  assert {
    condition     = aws_eks_node_group.this.instance_types == tolist(["m6i.large"]) && aws_eks_node_group.this.ami_type == "AL2023_x86_64_STANDARD"
    error_message = "By default the nodes must be x86_64."
  }

  assert {
    condition     = aws_eks_node_group.this.node_group_name == "default-f54304ab"
    error_message = "The runs below compare with this name."
  }

  assert {
    condition     = aws_eks_cluster.this.version == "1.36" && aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD"
    error_message = "The cluster must never run into extended support, which costs six times as much."
  }
}

# As in the runs below, on what stands: two groups cannot have one name, and EKS changes neither in place.
run "another_instance_type" {
  command = plan

  variables {
    node_instance_types = ["m6i.xlarge"]
  }

  assert {
    condition     = aws_eks_node_group.this.node_group_name != "default-f54304ab" && startswith(aws_eks_node_group.this.node_group_name, "default-")
    error_message = "Nodes of another type must be in a group of another name, made beside the old one."
  }
}

run "another_image_family" {
  command = plan

  variables {
    node_ami_type = "BOTTLEROCKET_x86_64"
  }

  assert {
    condition     = aws_eks_node_group.this.node_group_name != "default-f54304ab"
    error_message = "Nodes of another image family must be in a group of another name, made beside the old one."
  }
}

run "more_nodes_of_a_newer_version" {
  command = plan

  variables {
    node_count      = { min = 2, max = 9, desired = 3 }
    node_disk_gib   = 80
    cluster_version = "1.37"
  }

  assert {
    condition     = aws_eks_node_group.this.node_group_name == "default-f54304ab"
    error_message = "What EKS changes in place must not make another group."
  }
}

run "arm64" {
  command = plan

  variables {
    architecture = "arm64"
  }

  assert {
    condition     = aws_eks_node_group.this.instance_types == tolist(["m7g.large"]) && aws_eks_node_group.this.ami_type == "AL2023_ARM_64_STANDARD"
    error_message = "The architecture must set instance type and image family together."
  }
}

run "arm64_with_types_of_its_own" {
  command = plan

  variables {
    architecture        = "arm64"
    node_instance_types = ["t4g.medium", "c7gn.large", "im4gn.large", "a1.large"]
    node_ami_type       = "BOTTLEROCKET_ARM_64"
  }

  assert {
    condition     = aws_eks_node_group.this.ami_type == "BOTTLEROCKET_ARM_64"
    error_message = "An image family of the same architecture must be taken."
  }
}

run "types_of_another_architecture" {
  command = plan

  variables {
    node_instance_types = ["m6i.large", "m7g.large"]
    node_ami_type       = "AL2023_ARM_64_STANDARD"
  }

  expect_failures = [var.node_instance_types, var.node_ami_type]
}

run "arm64_with_x86_64_types" {
  command = plan

  variables {
    architecture        = "arm64"
    node_instance_types = ["g4dn.xlarge"]
    node_ami_type       = "AL2023_x86_64_STANDARD"
  }

  expect_failures = [var.node_instance_types, var.node_ami_type]
}
