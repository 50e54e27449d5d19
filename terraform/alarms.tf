# Each of these means that readings wait or are lost, and that someone has to look.

locals {
  alarm_actions = var.alarm_topic_arn == "" ? [] : [var.alarm_topic_arn]
}

# A dead letter that could not be kept is a lost reading. IoT Core counts these by rule and by kind of
# error action; the query sums over whatever kinds there are.
resource "aws_cloudwatch_metric_alarm" "error_action_failure" {
  alarm_name        = "${var.name}-error-action-failure"
  alarm_description = "The rule ${var.rule_name} could not put an undelivered reading on its dead-letter queue: readings are being lost. Check the role ${aws_iam_role.rule.name} and the queue."

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions

  metric_query {
    id          = "failures"
    expression  = "SELECT SUM(ErrorActionFailure) FROM \"AWS/IoT\" WHERE RuleName = '${var.rule_name}'"
    label       = "Failed error actions"
    period      = 60
    return_data = true
  }
}

resource "aws_cloudwatch_metric_alarm" "rule_throttled" {
  alarm_name        = "${var.name}-rule-throttled"
  alarm_description = "IoT Core throttles the rule ${var.rule_name}: readings are not evaluated. Ask AWS for a higher rule evaluation quota."

  namespace   = "AWS/IoT"
  metric_name = "RuleMessageThrottled"
  dimensions  = { RuleName = var.rule_name }
  statistic   = "Sum"
  period      = 60

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = aws_sqs_queue.dead_letters

  alarm_name        = "${each.value.name}-waiting"
  alarm_description = "Readings wait on ${each.value.name}. Find out why, then redrive them; they are kept for 14 days."

  namespace   = "AWS/SQS"
  metric_name = "ApproximateNumberOfMessagesVisible"
  dimensions  = { QueueName = each.value.name }
  statistic   = "Maximum"
  period      = 60

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}
