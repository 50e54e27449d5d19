# What must be refused before anything is made.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  domain = "ingest.example.com"
  zone   = "example.com"
}

run "names" {
  command = plan

  variables {
    name       = "IoT_Receiver"
    account_id = "12345"
    table_name = "a"
    rule_name  = "forward-to-alb" # IoT Core takes no hyphens
  }

  expect_failures = [var.name, var.account_id, var.table_name, var.rule_name]
}

run "domain_with_scheme" {
  command = plan

  variables {
    domain = "https://ingest.example.com"
  }

  expect_failures = [var.domain]
}

run "domain_of_another_zone" {
  command = plan

  variables {
    domain = "ingest.badexample.com"
  }

  expect_failures = [var.zone]
}

run "network" {
  command = plan

  variables {
    vpc_cidr     = "10.20.0.0/24"
    zone_count   = 1
    nat_gateways = "none"
  }

  expect_failures = [var.vpc_cidr, var.zone_count, var.nat_gateways]
}

run "more_zones_than_the_region_has" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-west-1a", "us-west-1c"] }
  }

  expect_failures = [data.aws_availability_zones.available]
}

run "choices" {
  command = plan

  variables {
    table_schema         = "upload_time"
    secret_recovery_days = 3
    node_count           = { min = 3, max = 2, desired = 3 }
    cluster_version      = "1.36.2"
    architecture         = "amd64"
    iot_log_level        = "error"

    cluster_private_access_cidrs = ["10.30.4.1", "2001:db8::/32"]
  }

  expect_failures = [
    var.table_schema, var.secret_recovery_days, var.node_count, var.cluster_version, var.architecture, var.iot_log_level,
    var.cluster_private_access_cidrs,
  ]
}
