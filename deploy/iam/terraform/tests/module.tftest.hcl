# Runs without an AWS account.
mock_provider "aws" {}

variables {
  exporter_arn = "arn:aws:iam::444455556666:role/exporter"
  external_id  = "the-external-id"
}

run "creates_the_role" {
  assert {
    condition     = aws_iam_role.reader[0].name == "aws-iam-key-exporter"
    error_message = "the role has another name"
  }

  assert {
    condition = jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement[0] == {
      Sid       = "AssumeRole"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::444455556666:role/exporter" }
      Action    = ["sts:AssumeRole"]
      Condition = { StringEquals = { "sts:ExternalId" = "the-external-id" } }
    }
    error_message = "the trust policy does not name the exporter and the external ID"
  }

  assert {
    condition     = jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement[1].Action == ["sts:TagSession"]
    error_message = "sessions with tags are refused"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.reader[0].policy) == jsondecode(file("../reader.json"))
    error_message = "the policy is not reader.json"
  }

  assert {
    condition     = length(aws_cloudformation_stack_set.reader) == 0
    error_message = "there is a StackSet without organizational units"
  }

  assert {
    condition     = output.role_arn != null && output.stack_set_name == null
    error_message = "the outputs do not say what was created"
  }
}

run "reads_tags_of_all_users" {
  variables {
    user_tags = "bulk"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.reader[0].policy) == jsondecode(file("../reader-tags-bulk.json"))
    error_message = "the policy is not reader-tags-bulk.json"
  }
}

run "reads_tags_per_user" {
  variables {
    user_tags = "per_user"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.reader[0].policy) == jsondecode(file("../reader-tags-per-user.json"))
    error_message = "the policy is not reader-tags-per-user.json"
  }
}

run "follows_the_partition" {
  variables {
    exporter_arn = "arn:aws-us-gov:iam::444455556666:role/exporter"
    role_name    = "key-reader"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.reader[0].policy, "arn:aws-us-gov:iam::*:user/*")
    error_message = "the policy is for another partition"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.reader[0].policy, "arn:aws:")
    error_message = "an ARN is in another partition"
  }

  assert {
    condition     = jsondecode(output.exporter_policy).Statement[0].Resource == ["arn:aws-us-gov:iam::*:role/key-reader"]
    error_message = "the exporter's policy is for other roles"
  }
}

run "deploys_to_organizational_units" {
  variables {
    organizational_unit_ids = ["ou-abcd-12345678", "ou-abcd-87654321"]
    user_tags               = "bulk"
  }

  assert {
    condition     = aws_cloudformation_stack_set.reader[0].permission_model == "SERVICE_MANAGED"
    error_message = "the StackSet is not service-managed"
  }

  assert {
    condition     = one(aws_cloudformation_stack_set.reader[0].auto_deployment).enabled
    error_message = "new accounts do not get the role"
  }

  assert {
    condition = aws_cloudformation_stack_set.reader[0].parameters == tomap({
      RoleName    = "aws-iam-key-exporter"
      ExporterArn = "arn:aws:iam::444455556666:role/exporter"
      ExternalId  = "the-external-id"
      UserTags    = "bulk"
    })
    error_message = "the template gets other parameters"
  }

  assert {
    condition = toset(one(aws_cloudformation_stack_set_instance.reader[0].deployment_targets).organizational_unit_ids) == toset([
      "ou-abcd-12345678", "ou-abcd-87654321"
    ])
    error_message = "the StackSet has other targets"
  }

  assert {
    condition     = length(aws_iam_role.reader) == 1
    error_message = "the management account, which StackSets skip, has no role"
  }
}

run "leaves_the_role_to_the_stack_set" {
  variables {
    create_role             = false
    call_as                 = "DELEGATED_ADMIN"
    organizational_unit_ids = ["r-abcd"]
  }

  assert {
    condition     = length(aws_iam_role.reader) == 0 && output.role_arn == null
    error_message = "there is a role that the StackSet creates as well"
  }

  assert {
    condition     = aws_cloudformation_stack_set_instance.reader[0].call_as == "DELEGATED_ADMIN"
    error_message = "the caller is not a delegated administrator"
  }
}

run "refuses_the_arn_of_a_session" {
  command = plan

  variables {
    exporter_arn = "arn:aws:sts::444455556666:assumed-role/exporter/session"
  }

  expect_failures = [var.exporter_arn]
}

run "refuses_an_invalid_external_id" {
  command = plan

  variables {
    external_id = "with space"
  }

  expect_failures = [var.external_id]
}

run "refuses_a_role_with_a_path" {
  command = plan

  variables {
    role_name = "team/reader"
  }

  expect_failures = [var.role_name]
}

run "refuses_an_unknown_source_of_tags" {
  command = plan

  variables {
    user_tags = "all"
  }

  expect_failures = [var.user_tags]
}

run "refuses_account_ids_as_units" {
  command = plan

  variables {
    organizational_unit_ids = ["111122223333"]
  }

  expect_failures = [var.organizational_unit_ids]
}

run "refuses_an_unknown_caller" {
  command = plan

  variables {
    call_as = "ADMIN"
  }

  expect_failures = [var.call_as]
}
