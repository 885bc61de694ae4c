locals {
  # A role can only be trusted within its partition.
  partition = split(":", var.exporter_arn)[1]

  # The policies in the parent directory are the only source: `aws-iam-key-exporter policy` wrote them.
  readers = {
    off      = "reader.json"
    bulk     = "reader-tags-bulk.json"
    per_user = "reader-tags-per-user.json"
  }
  reader_policy = replace(
    file("${path.module}/../${local.readers[var.user_tags]}"), "arn:aws:", "arn:${local.partition}:"
  )
  trust_policy = replace(
    replace(
      file("${path.module}/../trust.json"),
      "arn:aws:iam::111122223333:role/aws-iam-key-exporter-server", var.exporter_arn
    ),
    "REPLACE-WITH-YOUR-EXTERNAL-ID", var.external_id
  )
  exporter_policy = replace(
    file("${path.module}/../exporter.json"),
    "arn:aws:iam::*:role/aws-iam-key-exporter", "arn:${local.partition}:iam::*:role/${var.role_name}"
  )
}

resource "aws_iam_role" "reader" {
  count = var.create_role ? 1 : 0

  name               = var.role_name
  description        = "Lets aws-iam-key-exporter read when each access key was last used."
  assume_role_policy = local.trust_policy
  tags               = var.tags
}

resource "aws_iam_role_policy" "reader" {
  count = var.create_role ? 1 : 0

  name   = "reader"
  role   = aws_iam_role.reader[0].name
  policy = local.reader_policy
}

resource "aws_cloudformation_stack_set" "reader" {
  count = length(var.organizational_unit_ids) > 0 ? 1 : 0

  name             = var.role_name
  description      = "The role with which aws-iam-key-exporter reads an account."
  permission_model = "SERVICE_MANAGED"
  call_as          = var.call_as
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  template_body    = file("${path.module}/../reader-role.yaml")
  tags             = var.tags

  parameters = {
    RoleName    = var.role_name
    ExporterArn = var.exporter_arn
    ExternalId  = var.external_id
    UserTags    = var.user_tags
  }

  auto_deployment {
    enabled                          = true
    retain_stacks_on_account_removal = false
  }

  # One account that refuses, such as by a service control policy, does not keep out the others.
  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }

  lifecycle {
    # AWS sets it, although it has no meaning where the permission model is SERVICE_MANAGED.
    ignore_changes = [administration_role_arn]
  }
}

resource "aws_cloudformation_stack_set_instance" "reader" {
  count = length(var.organizational_unit_ids) > 0 ? 1 : 0

  stack_set_name = aws_cloudformation_stack_set.reader[0].name
  call_as        = var.call_as

  deployment_targets {
    organizational_unit_ids = var.organizational_unit_ids
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }
}
