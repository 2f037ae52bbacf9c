"""What the README shows runs as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
        promised = re.findall(r"# (tensor\(.*\))$", block, re.MULTILINE)
        printed = capsys.readouterr().out.strip().splitlines()
        assert len(printed) == len(promised)
        for line, promise in zip(printed, promised, strict=True):
            number = re.compile(r"tensor\((\d+\.\d)")
            assert number.match(line)[1] == number.match(promise)[1]
            assert line.split(",")[1:] == promise.split(",")[1:]


def test_the_files_that_the_readme_names_exist():
    root = Path(__file__).parent.parent
    for name in re.findall(r"`((?:gpt|tensorlite|tests|benchmarks|\.ci)/[\w/.]*)`", README):
        assert (root / name).exists() or name.endswith("__pycache__"), name
