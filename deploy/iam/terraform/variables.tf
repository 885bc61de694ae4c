variable "exporter_arn" {
  description = "ARN of the role, or user, that the exporter runs as. It must exist already."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\\w+=,.@/-]+$", var.exporter_arn))
    error_message = "The exporter_arn must be the ARN of a role or user, such as arn:aws:iam::111122223333:role/exporter."
  }
}

variable "external_id" {
  description = "What the exporter has to send to assume the role, as in organization.external_id of its configuration."
  type        = string

  validation {
    condition     = can(regex("^[\\w+=,.@:/-]{2,1000}$", var.external_id))
    error_message = "The external_id must be 2 to 1000 letters, digits or any of _+=,.@:/-."
  }
}

variable "role_name" {
  description = "Name of the role, as in organization.role_name of the exporter's configuration."
  type        = string
  default     = "aws-iam-key-exporter"

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.role_name))
    error_message = "The role_name must be 1 to 64 letters, digits or any of _+=,.@-, without a path."
  }
}

variable "user_tags" {
  description = "Where users' tags come from, as in collection.user_tags of the exporter's configuration: off, bulk or per_user."
  type        = string
  default     = "off"

  validation {
    condition     = contains(["off", "bulk", "per_user"], var.user_tags)
    error_message = "The user_tags must be off, bulk or per_user."
  }
}

variable "create_role" {
  description = "Whether to create the role in the account of the provider. Set it to false where a StackSet has created it."
  type        = bool
  default     = true
}

variable "organizational_unit_ids" {
  description = "IDs of the organizational units, or of the root, in whose accounts a StackSet creates the role. Empty: no StackSet."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for id in var.organizational_unit_ids : can(regex("^(r-[a-z0-9]{4,32}|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})$", id))
    ])
    error_message = "The organizational_unit_ids must be IDs such as r-abcd or ou-abcd-12345678."
  }
}

variable "call_as" {
  description = "SELF in the management account, DELEGATED_ADMIN in the account of a delegated administrator of CloudFormation."
  type        = string
  default     = "SELF"

  validation {
    condition     = contains(["SELF", "DELEGATED_ADMIN"], var.call_as)
    error_message = "The call_as must be SELF or DELEGATED_ADMIN."
  }
}

variable "tags" {
  description = "Tags of the role and the StackSet."
  type        = map(string)
  default     = {}
}
