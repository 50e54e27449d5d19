# The readings: one row a message.

resource "aws_dynamodb_table" "readings" {
  name         = var.table_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "deviceId"
  range_key    = "Time"

  deletion_protection_enabled = var.table_deletion_protection

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
