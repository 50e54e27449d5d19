# What could not be delivered, until it is redriven: by the rule (the receiver did not take it) and by
# the receiver (a message of an array was invalid).

resource "aws_sqs_queue" "dead_letters" {
  for_each = toset(["receiver", "rule"])

  name                      = "${var.name}-${each.key}-dead-letters"
  message_retention_seconds = 14 * 24 * 60 * 60 # SQS's longest
  sqs_managed_sse_enabled   = true
}
