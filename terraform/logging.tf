# IoT Core's own logs, where iot_log_level asks for them: why a rule failed, who was refused.
# https://docs.aws.amazon.com/iot/latest/developerguide/configure-logging.html

resource "aws_iam_role" "iot_logging" {
  count = var.iot_log_level == "" ? 0 : 1

  name        = "${var.name}-iot-logging"
  description = "IoT Core: write its logs"

  assume_role_policy = local.iot_trust
}

resource "aws_iam_role_policy" "iot_logging" {
  count = length(aws_iam_role.iot_logging)

  role = aws_iam_role.iot_logging[0].name
  name = "iot-logging"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "logs:PutMetricFilter",
        "logs:PutRetentionPolicy",
      ]
      Resource = "arn:${local.partition}:logs:${var.region}:${local.account_id}:log-group:AWSIotLogsV2*"
    }]
  })
}

resource "aws_iot_logging_options" "this" {
  count = length(aws_iam_role.iot_logging)

  default_log_level = var.iot_log_level
  disable_all_logs  = var.iot_log_level == "DISABLED"
  role_arn          = aws_iam_role.iot_logging[0].arn

  depends_on = [aws_iam_role_policy.iot_logging]
}
