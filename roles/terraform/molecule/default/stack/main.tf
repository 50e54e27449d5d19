variable "name" {
  type = string
}

variable "region" {
  type = string
}

variable "account_id" {
  type = string
}

variable "domain" {
  type = string
}

variable "zone" {
  type = string
}

variable "rule_name" {
  type = string
}

variable "namespace" {
  type = string
}

variable "service_account" {
  type = string
}

variable "load_balancer_controller_service_account" {
  type = string
}

variable "table_name" {
  type = string
}

variable "architecture" {
  type = string
}

variable "cluster_version" {
  type = string
}

variable "description" {
  type    = string
  default = "$${literal} %%{ text }"
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = "For ${var.domain}"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "iot.amazonaws.com" } }]
  })
}

resource "aws_secretsmanager_secret" "this" {
  name                    = "${var.name}/secret"
  description             = var.description
  recovery_window_in_days = 0
}

output "role_arn" {
  value = aws_iam_role.this.arn
}

output "description" {
  value = aws_secretsmanager_secret.this.description
}
