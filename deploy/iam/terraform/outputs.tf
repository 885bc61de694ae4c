output "role_name" {
  description = "Name of the role: organization.role_name of the exporter's configuration."
  value       = var.role_name
}

output "role_arn" {
  description = "ARN of the role in the account of the provider. Null: none was created there."
  value       = one(aws_iam_role.reader[*].arn)
}

output "stack_set_name" {
  description = "Name of the StackSet. Null: none was created."
  value       = one(aws_cloudformation_stack_set.reader[*].name)
}

output "exporter_policy" {
  description = "JSON of the policy that the exporter's own role needs to assume the roles."
  value       = local.exporter_policy
}
