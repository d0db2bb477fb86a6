"""The shell's semantics, script by script, and against the real sh of the machine."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .boxes import Box

SCRIPTS = {
    "words are split at blanks": 'x="a b  c"; for w in $x; do echo "[$w]"; done',
    "quotes keep blanks": 'x="a b  c"; echo "$x"; echo \'$x\'',
    "positional parameters keep their borders": 'set -- 1 "2 3" ""; for a in "$@"; do echo "<$a>"; done; echo $#',
    "unquoted $@ is split": 'set -- "1 2" 3; for a in $@; do echo "<$a>"; done',
    "$* joins with IFS": 'set -- a b c; IFS=,; echo "$*"',
    "shift and defaults": 'set -- a b; shift; echo "$1 ${2:-none} ${2-none}"',
    "default of an empty variable": 'x=; echo "[${x:-d}] [${x-d}] [${y-d}]"',
    "default with quotes inside": 'echo "${x:-"a b"}" ${x:-\'c d\'}',
    "assign default": "echo ${x:=v}; echo $x",
    "alternative": 'x=1; echo "${x:+yes}" "${y:+yes}"',
    "prefix and suffix": "f=/a/b.tar.gz; echo ${f##*/} ${f#*/} ${f%%.*} ${f%.*}",
    "length": "x=hello; echo ${#x}",
    "quoted pattern is literal": 'x="a*b"; echo "${x%"*b"}"',
    "arithmetic": "x=3; echo $((x * 2 + 1)) $((7 / 2)) $((-7 / 2)) $((7 % 3)) $((1 << 4)) $(( (2+3) * 4 ))",
    "arithmetic comparisons": "echo $((3 > 2)) $((3 == 4)) $((1 && 0)) $((1 || 0)) $((!5)) $((5 ? 7 : 8))",
    "arithmetic assignment": "i=5; : $((i += 2)); echo $i $((i = 9)) $i",
    "hexadecimal and octal": "echo $((0x1f)) $((010))",
    "command substitution": 'x=$(echo a; echo b); echo "$x"; echo $x',
    "backticks nest by backslash": "echo `echo \\`echo deep\\``",
    "substitution keeps the exit code": "x=$(exit 3); echo $?",
    "trailing line ends are cut": 'x=$(printf "a\\n\\n\\n"); echo "[$x]"',
    "nested substitution": 'echo "$(echo "$(echo "a b")")"',
    "pipeline": "printf 'b\\na\\nc\\n' | sort | head -n 2",
    "a pipeline's code is its last command's": "false | true; echo $?; true | false; echo $?",
    "and or": "true && echo a || echo b; false && echo a || echo b; false || false && echo c; echo d",
    "negation": "! true; echo $?; ! false; echo $?",
    "subshell": "x=1; (x=2; echo $x); echo $x",
    "group": "x=1; { x=2; echo $x; }; echo $x",
    "subshell's exit": "(exit 4); echo $?",
    "if elif else": "x=2; if [ $x = 1 ]; then echo one; elif [ $x = 2 ]; then echo two; else echo more; fi",
    "if without a hit is 0": "if false; then :; fi; echo $?",
    "while": "i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done",
    "until": "i=0; until [ $i -ge 2 ]; do echo $i; i=$((i+1)); done",
    "break and continue": "for i in 1 2 3 4; do [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done",
    "break 2": "for i in 1 2; do for j in a b; do echo $i$j; break 2; done; done; echo end",
    "case": "for x in apple bat c.t z; do case $x in a*) echo A;; b?t) echo B;; *.t) echo T;; *) echo O;; esac; done",
    "case with alternatives": 'case b in a|b) echo ab;; esac; case "*" in "*") echo star;; esac',
    "case with brackets": "case x in [a-m]) echo 1;; [!a-m]) echo 2;; esac",
    "functions": 'f() { echo "f $1 $#"; return 3; }; f a b; echo $?',
    "function with local": "x=1; f() { local x=2; echo $x; }; f; echo $x",
    "recursion": "fac() { if [ $1 -le 1 ]; then echo 1; else echo $(( $1 * $(fac $(($1-1))) )); fi; }; fac 6",
    "here-document": 'x=1; cat <<EOF\na $x $((x+1)) $(echo sub) `echo bt`\n  \\$x "q"\nEOF',
    "literal here-document": "cat <<'EOF'\n$x `y` \\z\nEOF",
    "here-document without tabs": "cat <<-EOF\n\t\ta\n\tb\n\tEOF\necho end",
    "here-document in a pipeline": "cat <<EOF | tr a-z A-Z && echo ok\nabc\nEOF",
    "two here-documents": "cat <<A; cat <<B\n1\nA\n2\nB",
    "here-document with unbalanced quotes": "cat <<EOF\nit's \"\nEOF\necho done",
    "redirections": "cd $T; echo a > f; echo b >> f; cat < f; cat f | wc -l | tr -d ' '",
    "stderr to stdout": "{ echo e >&2; } 2>&1 | tr e E",
    "to nowhere": "echo gone > /dev/null; cat /nope 2> /dev/null; echo $?",
    "devices": "echo o > /dev/stdout; echo e 2>/dev/null > /dev/stderr; echo f > /proc/self/fd/1; cat < /dev/stdin",
    "subshell with a redirection": "cd $T; (echo in; exit 3) > f; echo $?; cat f; echo out",
    "return in a subshell": "f() { (return 5); echo $?; }; f",
    "jobs of a subshell": "(sleep 1 > /dev/null 2>&1 &); echo now; { sleep 1 > /dev/null 2>&1 & } & wait $!; echo $?",
    "descriptors": "cd $T; exec 3> g; echo x >&3; exec 3>&-; cat g",
    "read": 'printf "a b c\\nd\\n" | { read x y; echo "$x|$y"; read z; echo $z; read q; echo $?; }',
    "read with IFS": 'echo "a:b:c" | { IFS=: read x y; echo "$x $y"; }',
    "read raw": 'printf "a\\\\\\\\b\\n" | { read -r x; printf "%s\\n" "$x"; }',
    "while read": 'printf "1\\n2\\n" | while read n; do echo "n=$n"; done',
    "set -e": "set -e; echo a; false; echo b",
    "set -e spares conditions": "set -e; if false; then :; fi; false || true; ! true; echo alive",
    "set -u": "set -u; echo ${x:-ok}",
    "eval": "x='echo hi'; eval $x; eval 'y=1; echo $y'",
    "trap EXIT": "trap 'echo bye' EXIT; echo hi; exit 3",
    "exit code": "exit 7",
    "export": 'export A=1; B=2 sh -c \'echo "$A $B"\'; echo "[$B]"',
    "assignment before a function lasts for the call": 'f() { echo "$V"; }; V=1 f; V=; echo "[$V]"',
    "unset": "x=1; unset x; echo ${x-unset}",
    "globs": "cd $T; touch b.c a.c d.h; echo *.c; echo *.x; echo [ab].c; echo '*'",
    "hidden files": "cd $T; touch .h v; echo *; echo .h*",
    "glob in a path": "mkdir -p $T/p/q $T/p/r; touch $T/p/q/f $T/p/r/f; cd $T; echo p/*/f",
    "wait for a job": "{ sleep 0.01; echo job; } & wait; echo after",
    "exit code of a job": "(exit 5) & wait $!; echo $?",
    "dot": "cd $T; echo 'y=5; echo in $1' > lib; . ./lib; echo $y",
    "test strings": '[ -z "" ] && [ -n a ] && [ a != b ] && [ "x" = x ] && echo ok; [ a = b ]; echo $?',
    "test numbers": "[ 1 -eq 1 ] && [ 2 -gt 1 ] && [ 1 -ne 2 ] && [ 1 -le 1 ] && echo ok",
    "test combined": "[ 1 = 1 -a 2 = 2 ] && [ 1 = 2 -o 3 = 3 ] && [ ! 1 = 2 ] && [ \\( 1 = 1 \\) ] && echo ok",
    "test files": "cd $T; echo > f; mkdir d; [ -f f ] && [ -d d ] && [ -e f ] && [ ! -e g ] && [ -s f ] && echo ok",
    "escapes outside of quotes": "echo a\\ b \\$x \\\\",
    "line continuation": "echo a \\\n b",
    "comments": "echo a # b\n# c\necho d#e",
    "empty fields": 'x=; set -- $x "$x" ""; echo $#',
    "IFS with hard separators": "IFS=:; x=a::b:; set -- $x; echo $#; for w in $x; do echo [$w]; done",
    "joined parts": "x='1 2'; for w in a${x}b; do echo [$w]; done",
    "tilde": "HOME=/h; echo ~ ~/x 'a~' \"~\"",
    "printf": "printf '%s-%d-%05.1f|%-5s|%x\\n' a 5 2.55 ab 255; printf '%s\\n' 1 2; printf 'a\\tb\\n'",
    "command -v": "command -v cd; command -v nope_; echo $?",
    "getopts": 'while getopts ab: o -a -b v; do echo "$o:$OPTARG"; done',
    "colon": ": ${x:=1}; echo $x",
    "semicolons in loops": "for i in 1 2\ndo\necho $i\ndone",
    "for without words": "set -- a b; for x; do echo $x; done",
    "nested quotes in substitution": 'echo "$(printf \'%s\' "a  b")"',
    "dollar alone": 'echo $ a$ "$"',
    "parameter lists": 'set -- a b c; echo "$1$2${3}x" $#',
    "exec replaces": "exec echo replaced; echo never",
    "unknown command is 127": "nope_nope 2>/dev/null; echo $?",
}
"""Name → a script that the real sh understands in the same way."""


@pytest.fixture(scope="module")
def real_sh() -> str:
    found = shutil.which("dash") or shutil.which("sh")
    if found is None:
        pytest.skip("no sh on this machine to compare with")
    return found


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_does_what_the_real_sh_does(name: str, real_sh: str, tmp_path: Path) -> None:
    """Output and exit code are those of the machine's own sh."""
    script = SCRIPTS[name]
    real = subprocess.run(  # noqa: ASYNC221  # nothing else runs meanwhile
        [real_sh, "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "T": str(tmp_path), "HOME": "/root"},
        check=False,
    )
    box = Box(env={"T": "/tmp"})
    ours = await box.sh(script)
    assert (ours.out, ours.code) == (real.stdout, real.returncode), ours.err


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("if true; then", 'sh: syntax error: unexpected end of file (expecting "fi")'),
        ("while :; do", 'sh: syntax error: unexpected end of file (expecting "done")'),
        ("done", 'sh: syntax error: unexpected "done"'),
        ("echo a;; b", 'sh: syntax error: unexpected ";;"'),
        ("echo )", 'sh: syntax error: unexpected ")"'),
        ('echo "abc', "sh: syntax error: unterminated quoted string"),
        ("(echo", 'sh: syntax error: unexpected end of file (expecting ")")'),
        ("echo a &&", "sh: syntax error: unexpected end of file"),
        ("a=(1 2)", 'sh: syntax error: unexpected "("'),
        ("echo $((1 +))", "sh: arithmetic syntax error"),
        ("echo $((1/0))", "sh: divide by zero"),
        ("set -u; echo $nope", "sh: nope: parameter not set"),
        ("echo ${x:?is missing}", "sh: x: is missing"),
    ],
)
async def test_what_is_wrong_is_told_as_sh_tells_it(script: str, message: str) -> None:
    """A script that can't go on ends with exit code 2 and one line on stderr."""
    result = await Box().sh(script)
    assert (result.code, result.err) == (2, f"{message}\n")


async def test_an_unknown_command_is_127_and_a_plain_file_126() -> None:
    """The shell's words for what it can't run."""
    box = Box()
    assert (await box.sh("nope")).err == "sh: nope: not found\n"
    result = await box.sh("echo hi > /tmp/f; /tmp/f; echo $?; chmod +x /tmp/f; echo 'echo ran $1' > /tmp/f; /tmp/f a")
    assert result.out == "126\nran a\n"
    assert result.err == "sh: /tmp/f: Permission denied\n"


async def test_sessions_share_the_files_and_not_the_variables() -> None:
    """A container has one file system, each exec a shell of its own."""
    box = Box()
    await box.sh("x=1; echo hello > /tmp/note")
    assert (await box.sh("cat /tmp/note; echo [$x]")).out == "hello\n[]\n"


async def test_sigterm_runs_the_trap() -> None:
    """A main process with a trap ends the way its trap says."""
    box = Box()
    script = "trap 'echo bye; exit 5' TERM; echo up; while true; do sleep 60 & wait $!; done"
    running = asyncio.ensure_future(box.main("sh", "-c", script))
    while "up" not in "".join(box.log):
        await asyncio.sleep(0)
    box.container.terminated.set()
    assert await asyncio.wait_for(running, 5) == 5
    assert "".join(box.log) == "up\nbye\n"


@pytest.mark.parametrize(
    "argv", [("sleep", "3600"), ("sh", "-c", "while true; do sleep 1; done"), ("tail", "-f", "/dev/null")]
)
async def test_sigterm_without_a_trap_is_143(argv: tuple[str, ...]) -> None:
    """What doesn't handle SIGTERM ends at once."""
    box = Box()
    running = asyncio.ensure_future(box.main(*argv))
    await asyncio.sleep(0)
    box.container.terminated.set()
    assert await asyncio.wait_for(running, 5) == 143


async def test_a_busy_loop_lets_others_run() -> None:
    """`while true; do :; done` doesn't stop the event loop."""
    running = asyncio.ensure_future(Box().main("sh", "-c", "while :; do :; done"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_cancelling_an_exec_ends_everything_in_it() -> None:
    """A client that goes leaves no task behind."""
    before = asyncio.all_tasks()
    running = asyncio.ensure_future(Box().sh("sleep 100 & { sleep 100 | cat; } | (sleep 100; echo x)"))
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert asyncio.all_tasks() == before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="ab *?\\'\"$ \t:-", max_size=6), min_size=1, max_size=3),
    st.sampled_from(["$x", '"$x"', "a${x}b", "${x%b*}", '"${x#a}"', "${x:-d}", '$(printf %s "$x")']),
)
def test_expansion_agrees_with_the_real_sh(values: list[str], use: str) -> None:
    """Any value, used in any way, makes the same fields."""
    real_sh = shutil.which("dash")
    if real_sh is None:
        pytest.skip("no dash on this machine to compare with")
    script = f'set -f; for x in "$@"; do for w in {use}; do printf \'[%s]\' "$w"; done; echo; done'
    real = subprocess.run([real_sh, "-c", script, "sh", *values], capture_output=True, text=True, check=False)
    ours = asyncio.run(Box().sh(script, "sh", *values))
    assert (ours.out, ours.code) == (real.stdout, real.returncode)
