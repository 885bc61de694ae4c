"""The Terraform module in deploy/iam/terraform, with a stand-in for the AWS provider."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.iam.programs import environment

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.xdist_group("terraform")]

ROOT = Path(__file__).parent.parent
MODULE = ROOT / "deploy" / "iam" / "terraform"

Terraform = Callable[..., subprocess.CompletedProcess[str]]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Run terraform in a copy of deploy/iam, in which it can leave its files."""
    program = shutil.which("terraform")
    if program is None:  # not a failure in CI either: no package that could be required has it
        pytest.skip("terraform is not installed: put it on PATH to test deploy/iam/terraform")
    folder = tmp_path_factory.mktemp("terraform")
    shutil.copytree(MODULE.parent, folder / "iam")
    variables = {
        **os.environ,
        "TF_CLI_CONFIG_FILE": str(_configuration(folder)),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=folder / "iam" / "terraform",
            env=variables,
        )

    result = run("init", "-backend=false", "-no-color")
    assert result.returncode == 0, result.stderr
    return run


def _configuration(folder: Path) -> Path:
    """Put the stand-in where terraform looks for providers; the file that says so."""
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    name = "terraform-provider-aws_v6.0.0"
    path = Path(
        folder,
        "mirror/registry.terraform.io/hashicorp/aws/6.0.0",
        f"{platform.system().lower()}_{machine}",
        name,
    )
    path.parent.mkdir(parents=True)
    source = (ROOT / "tests" / "iam" / "terraform_provider.py").read_text()
    path.write_text(f"#!{environment('terraform-provider') / 'python'}\n{source}", encoding="utf-8")
    path.chmod(0o755)
    file = folder / "terraform.rc"
    mirror = folder / "mirror"
    file.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n',
        encoding="utf-8",
    )
    return file


def test_the_module_is_formatted(terraform: Terraform) -> None:
    """`terraform fmt` would change nothing."""
    result = terraform("fmt", "-check", "-recursive", "-diff")

    assert (result.returncode, result.stdout) == (0, "")


def test_the_module_is_valid(terraform: Terraform) -> None:
    """Names and types of all arguments are right."""
    result = terraform("validate", "-no-color")

    assert result.returncode == 0, result.stderr


def test_a_misspelt_argument_is_invalid(terraform: Terraform, tmp_path: Path) -> None:
    """The test above can fail: the stand-in knows the arguments."""
    (tmp_path / "main.tf").write_text(
        'resource "aws_iam_role_policy" "reader" {\n name = "a"\n roel = "b"\n policy = "{}"\n}\n',
        encoding="utf-8",
    )
    folder = f"-chdir={tmp_path}"
    assert terraform(folder, "init", "-backend=false").returncode == 0

    result = terraform(folder, "validate", "-no-color")

    assert result.returncode == 1
    assert 'Did you mean "role"?' in result.stderr


def test_the_modules_own_tests_pass(terraform: Terraform) -> None:
    """`terraform test` applies the module, and refuses invalid variables."""
    result = terraform("test", "-no-color")

    assert result.returncode == 0, result.stdout + result.stderr
    runs = (MODULE / "tests" / "module.tftest.hcl").read_text().count("\nrun ")
    assert f"{runs} passed, 0 failed" in result.stdout


def test_the_readme_has_every_variable_and_output() -> None:
    """Variables and outputs are documented, each once."""
    readme = (MODULE / "README.md").read_text()
    names = [
        name
        for file, kind in (("variables.tf", "variable"), ("outputs.tf", "output"))
        for name in re.findall(rf'^{kind} "(\w+)"', (MODULE / file).read_text(), re.MULTILINE)
    ]

    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == names
