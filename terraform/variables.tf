# --- Deployment

variable "name" {
  description = "Name of the deployment and of its EKS cluster; the names of roles, queues and the secret begin with it. Unique in the account, as IAM roles are."
  type        = string
  default     = "iot-receiver"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 32 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region of everything here, IoT Core included."
  type        = string
  default     = "us-east-2"
}

variable "account_id" {
  description = "Account this may act in; credentials of another account are refused. Empty: whichever account the credentials belong to."
  type        = string
  default     = ""

  validation {
    condition     = var.account_id == "" || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be the account's 12 digits, or empty."
  }
}

variable "tags" {
  description = "Further tags of every resource."
  type        = map(string)
  default     = {}
}

# --- Domain

variable "domain" {
  description = "Domain at which IoT Core reaches the receiver. Its certificate is public, so it must be a domain of yours: none can name a load balancer's own address."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$", var.domain)) && length(var.domain) <= 64
    error_message = "domain must be a full domain name in lower case, such as ingest.example.com, of 64 characters at most (ACM's limit)."
  }
}

variable "zone" {
  description = "Public Route 53 zone that holds the domain; it must exist. Empty: the domain's DNS is elsewhere, and the record that proves it is an output."
  type        = string
  default     = ""

  validation {
    condition     = var.zone == "" || var.domain == trimsuffix(var.zone, ".") || endswith(var.domain, ".${trimsuffix(var.zone, ".")}")
    error_message = "domain must be the zone itself or a name below it."
  }
}

# --- Network

variable "vpc_cidr" {
  description = "Addresses of the VPC. Pods take theirs from the private subnets: a /16 gives each zone 4,091."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 19, false)
    error_message = "vpc_cidr must be an IPv4 range of /16 to /19, such as 10.20.0.0/16 (a load balancer needs subnets of /27 or larger)."
  }
}

variable "zone_count" {
  description = "Availability zones to spread over."
  type        = number
  default     = 3

  validation {
    condition     = var.zone_count >= 2 && var.zone_count <= 6 && floor(var.zone_count) == var.zone_count
    error_message = "zone_count must be 2 to 6: EKS and the load balancer need two."
  }
}

variable "nat_gateways" {
  description = "per_zone: a NAT gateway in each zone, so that losing one zone cuts no other off. single: one for all, at a third of the price."
  type        = string
  default     = "per_zone"

  validation {
    condition     = contains(["per_zone", "single"], var.nat_gateways)
    error_message = "nat_gateways must be per_zone or single."
  }
}

# --- Cluster

variable "cluster_version" {
  description = "Kubernetes version of the cluster and its nodes. At the end of its standard support EKS upgrades the cluster by itself, at no extra charge."
  type        = string
  default     = "1.36"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.cluster_version))
    error_message = "cluster_version must be a minor version such as 1.36, in quotes."
  }
}

variable "architecture" {
  description = "Processors of the nodes: x86_64 or arm64 (Graviton). It sets the image family and the default instance types; the receiver's image must be of the same."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "cluster_public_access_cidrs" {
  description = "Addresses that may reach the cluster's API over the internet. Empty: none, so Ansible must run where cluster_private_access_cidrs says."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "cluster_private_access_cidrs" {
  description = "Addresses of the VPC, or of networks connected to it, from which the cluster's API is reached: those of the machine that runs Ansible, if it comes by that way. The nodes may without."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.cluster_private_access_cidrs : can(cidrnetmask(cidr)) && !strcontains(cidr, ":")])
    error_message = "cluster_private_access_cidrs must hold IPv4 ranges such as 10.30.4.0/24."
  }

  validation {
    condition     = length(var.cluster_public_access_cidrs) + length(var.cluster_private_access_cidrs) > 0
    error_message = "The cluster's API would admit nobody but its own nodes. Name the addresses of the machine that runs Ansible in cluster_private_access_cidrs, or in cluster_public_access_cidrs if it comes over the internet."
  }
}

variable "cluster_admin_arns" {
  description = "ARNs of IAM roles or users that administer the cluster. Whoever creates it does in any case, and may be among them."
  type        = set(string)
  default     = []
}

variable "cluster_addons" {
  description = "EKS add-ons to manage, by name: version (empty: EKS's default for the cluster's version, taken anew when that changes) and configuration values (JSON). EKS starts vpc-cni, coredns and kube-proxy by itself; name them here to have them upgraded or configured. aws-ebs-csi-driver gets the role that it needs."
  type = map(object({
    version       = optional(string)
    configuration = optional(string)
  }))
  default = {}
}

variable "cluster_log_retention_days" {
  description = "Days for which the control plane's logs are kept."
  type        = number
  default     = 30
}

variable "node_instance_types" {
  description = "Instance types of the nodes. Empty: m6i.large, or m7g.large for arm64. A change replaces the nodes: new ones first, then the old ones are drained."
  type        = list(string)
  default     = []

  # Graviton's families have a g after the generation's number: m7g, c6gn, t4g, im4gn.
  validation {
    condition     = alltrue([for type in var.node_instance_types : can(regex("^(a1|[a-z]+[0-9]+g[a-z]*)\\.", type)) == (var.architecture == "arm64")])
    error_message = "node_instance_types holds a type of another architecture than ${var.architecture}. Name types of it, such as ${var.architecture == "arm64" ? "m7g.large" : "m6i.large"}, or change architecture."
  }
}

variable "node_ami_type" {
  description = "EKS image family of the nodes. Empty: Amazon Linux 2023 of the architecture. A change replaces the nodes, as one of node_instance_types does."
  type        = string
  default     = ""

  validation {
    condition     = var.node_ami_type == "" || strcontains(lower(var.node_ami_type), "_arm_64") == (var.architecture == "arm64")
    error_message = "node_ami_type (${var.node_ami_type}) is of another architecture than ${var.architecture}. Leave it empty, or change architecture."
  }
}

variable "node_count" {
  description = "Nodes of the managed group: at least, at most, and at first. What is set later by other means is left alone; those that Karpenter adds are not among them."
  type        = object({ min = number, max = number, desired = number })
  default     = { min = 2, max = 6, desired = 3 }

  validation {
    condition     = var.node_count.min >= 1 && var.node_count.min <= var.node_count.desired && var.node_count.desired <= var.node_count.max
    error_message = "node_count needs 1 <= min <= desired <= max."
  }
}

variable "node_disk_gib" {
  description = "Size of each node's encrypted root disk, in GiB."
  type        = number
  default     = 50
}

variable "namespace" {
  description = "Kubernetes namespace of the receiver; only its service account there may take the receiver's role."
  type        = string
  default     = "apps"
}

variable "service_account" {
  description = "Kubernetes service account of the receiver; the redrive's has -redrive added, the readings' -readings."
  type        = string
  default     = "iot-receiver"
}

variable "load_balancer_controller_service_account" {
  description = "Namespace and name of the load balancer controller's service account; no other may take its role."
  type        = string
  default     = "kube-system:aws-load-balancer-controller"

  validation {
    condition     = can(regex("^[a-z0-9-]{1,63}:[a-z0-9.-]{1,253}$", var.load_balancer_controller_service_account))
    error_message = "load_balancer_controller_service_account must be <namespace>:<name>."
  }
}

# --- Table

variable "table_name" {
  description = "DynamoDB table of the readings."
  type        = string
  default     = "iot-readings"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table_name))
    error_message = "table_name must be 3 to 255 letters, digits, _, . and -."
  }
}

variable "table_schema" {
  description = "What the sort key Time holds: message_time (the reading's own time and id, so that a redelivery lands on the same row) or receipt_time (the time of receipt). Chosen once: rows of both do not mix."
  type        = string
  default     = "message_time"

  validation {
    condition     = contains(["message_time", "receipt_time"], var.table_schema)
    error_message = "table_schema must be message_time or receipt_time."
  }
}

variable "table_deletion_protection" {
  description = "Whether the table refuses to be deleted."
  type        = bool
  default     = true
}

variable "table_limits" {
  description = "Most read and write units a second that the table may use and cost; what is above is throttled, and becomes dead letters. Null: no limit but the account's. To remove one, set -1."
  type        = object({ reads = optional(number), writes = optional(number) })
  default     = null
}

# --- Secret and rule

variable "secret_recovery_days" {
  description = "Days for which a deleted secret can be restored, 7 to 30; 0 deletes at once, and lets the same name be used again at once."
  type        = number
  default     = 30

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days must be 0, or 7 to 30 (AWS's limits)."
  }
}

variable "rule_name" {
  description = "IoT rule whose metrics the alarms watch."
  type        = string
  default     = "forward_to_alb"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,128}$", var.rule_name))
    error_message = "rule_name must be letters, digits and _ only (IoT Core's limit)."
  }
}

variable "iot_log_level" {
  description = "What IoT Core logs to CloudWatch (log group AWSIotLogsV2): ERROR, WARN, INFO, DEBUG or DISABLED. It is one setting for the whole account and region, so only one deployment there may set it. Empty: left as it is."
  type        = string
  default     = ""

  validation {
    condition     = contains(["", "ERROR", "WARN", "INFO", "DEBUG", "DISABLED"], var.iot_log_level)
    error_message = "iot_log_level must be ERROR, WARN, INFO, DEBUG or DISABLED, or empty."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic that the alarms notify. Empty: they only show in CloudWatch."
  type        = string
  default     = ""
}
