# The readings: one row a message.

resource "aws_dynamodb_table" "readings" {
  name         = var.table_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "deviceId"
  range_key    = "Time"

  deletion_protection_enabled = var.table_deletion_protection

  # -1 is no limit, and removes one.
  dynamic "on_demand_throughput" {
    for_each = var.table_limits[*]

    content {
      max_read_request_units  = coalesce(on_demand_throughput.value.reads, -1)
      max_write_request_units = coalesce(on_demand_throughput.value.writes, -1)
    }
  }

  attribute {
    name = "deviceId"
    type = "S"
  }

  attribute {
    name = "Time"
    type = "S"
  }

  ttl {
    enabled        = true
    attribute_name = "ttl"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }

  tags = { Schema = var.table_schema }
}
