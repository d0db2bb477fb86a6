"""Reading and comparing a demo's README."""

from minikube_py.cli.demo import matches, steps

_README = """\
# Title

Some prose.

```console
$ echo one
one
$ printf 'a\\n' \\
    | cat
a
```

More prose.

```console
$ true
```
"""


def test_a_readme_is_a_list_of_steps() -> None:
    """Commands may span lines; prose belongs to the first command below it."""
    found = list(steps(_README))
    assert [step.command for step in found] == ["echo one", "printf 'a\\n' \\\n    | cat", "true"]
    assert [step.expected for step in found] == ["one", "a", ""]
    assert [bool(step.prose) for step in found] == [True, False, True]


def test_dots_stand_for_anything() -> None:
    """`...` matches any text; white space runs are one."""
    assert matches("RemoteAddr: 127...:...", "RemoteAddr: 127.244.1.2:4711\n")
    assert not matches("200", "503")
