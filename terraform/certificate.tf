# The domain's certificate, proven by a record in its zone.

data "aws_route53_zone" "receiver" {
  count = var.zone == "" ? 0 : 1

  name         = var.zone
  private_zone = false
}

resource "aws_acm_certificate" "receiver" {
  domain_name       = var.domain
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true # a listener may still hold the old one
  }
}

locals {
  validation = one(aws_acm_certificate.receiver.domain_validation_options)
}

resource "aws_route53_record" "validation" {
  count = length(data.aws_route53_zone.receiver)

  zone_id         = data.aws_route53_zone.receiver[0].zone_id
  name            = local.validation.resource_record_name
  type            = local.validation.resource_record_type
  records         = [local.validation.resource_record_value]
  ttl             = 60
  allow_overwrite = true # the record of an earlier certificate of this domain is the same
}

resource "aws_acm_certificate_validation" "receiver" {
  count = length(aws_route53_record.validation)

  certificate_arn         = aws_acm_certificate.receiver.arn
  validation_record_fqdns = [aws_route53_record.validation[0].fqdn]

  timeouts {
    create = "30m"
  }
}
