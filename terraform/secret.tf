# What the rule sends in X-Iot-Secret and the receiver expects. Its value is made by Ansible's role
# receiver and never enters Terraform's state.

resource "aws_secretsmanager_secret" "receiver" {
  name                    = "${var.name}/secret"
  description             = "Shared by the IoT rule ${var.rule_name} and the receiver"
  recovery_window_in_days = var.secret_recovery_days
}
