"""The tools that need no network, call by call."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .boxes import Box

LIKE_THE_REAL_ONES = {
    "head": "seq 20 | head -n 3; seq 5 | head -2; seq 5 | head -c 3; seq 5 | head -n -3",
    "tail": "seq 20 | tail -n 2; seq 5 | tail -1; seq 5 | tail -n +4",
    "sort": "printf '10\\n9\\n1\\n' | sort; printf '10\\n9\\n1\\n' | sort -n; printf 'b 2\\na 3\\n' | sort -k2 -n -r",
    "sort unique": "printf 'b\\na\\nb\\n' | sort -u; printf 'x:3\\ny:1\\n' | sort -t: -k2",
    "uniq": "printf 'a\\na\\n' | uniq; printf 'a\\na\\nb\\n' | uniq -c | tr -s ' '; printf 'a\\na\\nb\\n' | uniq -u",
    "cut": "echo a:b:c | cut -d: -f2; echo a:b:c | cut -d: -f1,3; echo abcdef | cut -c2-4",
    "cut to the end": "echo a:b:c | cut -d: -f2-; echo none | cut -d: -f2; echo none | cut -s -d: -f2",
    "tr": "echo hello | tr a-z A-Z; echo hello | tr -d l; echo aabb | tr -s a; echo 'a b' | tr ' ' '\\n'",
    "tr classes": "echo 'aB3 x' | tr '[:lower:]' '[:upper:]'; echo 'a1b2' | tr -cd '[:digit:]'; echo",
    "grep": "printf 'one\\ntwo\\nthree\\n' | grep t; printf 'a\\nB\\n' | grep -i b",
    "grep inverted": "printf 'a\\nb\\n' | grep -v a",
    "grep counts": "printf 'x\\nx\\ny\\n' | grep -c x; printf 'x\\ny\\n' | grep -n y; echo abc | grep -q b; echo $?",
    "grep extended": "printf 'foo1\\nbar\\n' | grep -E '^(foo|baz)[0-9]+$'; echo key=val | grep -o '[a-z]*$'",
    "grep basic": "echo 'a+b' | grep 'a+b'; echo aab | grep 'a\\{2\\}b'; echo 'x(y)' | grep '(y)'; echo z | grep x",
    "grep words": "printf 'cat\\nconcat\\n' | grep -w cat; printf 'a.b\\naxb\\n' | grep -F a.b",
    "grep around": "seq 9 | grep -A1 -B1 5; seq 3 | grep -m1 .",
    "sed": "echo hello | sed s/l/L/; echo hello | sed s/l/L/g; echo a/b | sed 's|/|-|'; echo abc | sed 's/b/[&]/'",
    "sed lines": "seq 5 | sed -n 2p; seq 5 | sed 2,4d; seq 5 | sed '$d'; seq 5 | sed -n '/2/,/4/p'; seq 3 | sed 2q",
    "sed groups": "echo k=v | sed -E 's/(.*)=(.*)/\\2=\\1/'; echo k=v | sed 's/\\(.*\\)=\\(.*\\)/\\2=\\1/'",
    "sed several": "echo abc | sed -e s/a/1/ -e s/c/3/; echo abc | sed 's/a/1/; s/b/2/'; seq 2 | sed 's/$/!/'",
    "sed text": "echo x | sed 'a\\after'; echo x | sed 'i\\before'; seq 3 | sed '2!d'; echo abc | sed y/abc/xyz/",
    "awk": "echo a b c | awk '{print $2, $NF, NF}'; printf '1 2\\n3 4\\n' | awk '{s += $1} END {print s}'",
    "awk conditions": "seq 5 | awk '$1 > 3'; printf 'a:1\\nb:2\\n' | awk -F: '/b/ {print $2}'; seq 3 | awk 'NR==2'",
    "awk printf": 'echo 3 x | awk \'{printf "%d-%s\\n", $1 * 2, $2}\'; awk \'BEGIN {print 1/4; print "a" "b"}\'',
    "awk variables": 'echo 5 | awk -v n=2 \'{print $1 * n; if ($1 > 4) print "big"; else print "small"}\'',
    "awk functions": "echo hello | awk '{print length($0), substr($0, 2, 3), toupper($1), index($0, \"l\")}'",
    "seq": "seq 3; seq 2 4; seq 1 2 5; seq 3 -1 1; seq -s, 3; seq -w 8 10; seq 0.5 0.5 1.5",
    "printf": "printf '%5d|%-5s|%05d|%x|%o|%c|%%\\n' 42 ab 7 255 8 xyz; printf '%s ' a b c; printf '%b\\n' 'a\\tb'",
    "xargs": "echo a b c | xargs echo x; printf '1\\n2\\n' | xargs -n1 echo n",
    "xargs in place": "printf 'a\\nb\\n' | xargs -I{} echo '<{}>'",
    "paths": "basename /a/b.c; basename /a/b.c .c; dirname /a/b/c; dirname x",
    "expr": "expr 1 + 2; expr 6 / 4; expr a = a; expr abc : 'a\\(.*\\)'; expr 3 '*' 4; expr 1 = 2; echo $?",
    "base64": "echo hello | base64; echo aGVsbG8K | base64 -d",
    "sums": "echo hello | md5sum; echo hello | sha256sum",
    "tee": "cd $T; echo x | tee f; cat f; echo y | tee -a f; cat f",
    "files": "cd $T; mkdir -p a/b; echo 1 > a/f; cp -r a c; mv c d; ls d; rm -r d; ls; cat a/f; rm a/f; rmdir a/b",
    "links": "cd $T; echo x > f; ln -s f l; cat l; readlink l; [ -L l ] && echo link; rm l; cat f",
    "find": "cd $T; mkdir -p x/y; touch x/a.txt x/y/b.txt x/c; find x -name '*.txt' | sort; find x -type d | sort",
    "find exec": "cd $T; mkdir z; touch z/1 z/2; find z -type f -exec echo got {} \\; | sort; find z -maxdepth 0",
    "stat": "cd $T; printf 12345 > f; stat -c %s f; chmod 600 f; stat -c %a f",
    "tar": "cd $T; mkdir s; echo 1 > s/a; tar cf t.tar s; rm -r s; tar xf t.tar; cat s/a; tar tf t.tar | sort",
    "tar pipe": "cd $T; mkdir p q; echo 1 > p/a; tar cf - -C p a | tar xf - -C q; cat q/a",
    "gzip": "cd $T; echo zipped > g; gzip g; ls g*; gunzip g.gz; cat g; echo x | gzip -c | gzip -dc",
    "date": "date -u -d @0 +%Y-%m-%dT%H:%M:%SZ",
    "env": "env -i A=1 B=2 env | sort; A=5 printenv A; printenv NOPE_; echo $?",
    "yes": "yes | head -n 2; yes no | head -n 1",
    "timeout": "timeout 5 echo in time; timeout 0.05 sleep 5; [ $? -ne 0 ] && echo late",
    "rev and tac": "echo abc | rev; seq 3 | tac",
    "paste and nl": "seq 3 | paste -s -d, -; printf 'a\\nb\\n' | nl | tr -s ' \\t' ' '",
    "cmp and diff": "cd $T; echo a > x; echo b > y; cmp -s x x; echo $?; cmp -s x y; echo $?; diff -q x y; echo $?",
    "dd": "dd if=/dev/zero bs=4 count=2 2> /dev/null | od -An -tx1 | wc -l | tr -d ' '",
    "wc": "printf 'a b\\nc\\n' | wc -l | tr -d ' '; printf 'a b\\nc\\n' | wc -w | tr -d ' '",
}
"""Name → a script whose output is the same with GNU's tools and dash."""


@pytest.mark.parametrize("name", LIKE_THE_REAL_ONES)
async def test_a_tool_does_what_the_real_one_does(name: str, tmp_path: Path) -> None:
    """Output and exit code are those of this machine's own tools."""
    dash = shutil.which("dash")
    if dash is None or shutil.which("sed") is None:
        pytest.skip("no dash on this machine to compare with")
    script = LIKE_THE_REAL_ONES[name]
    environment = {"PATH": "/usr/bin:/bin", "T": str(tmp_path), "LC_ALL": "C.UTF-8"}
    real = subprocess.run(  # noqa: ASYNC221  # nothing else runs meanwhile
        [dash, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    box = Box(env={"T": "/work", "LC_ALL": "C"})
    await box.sh("mkdir /work")
    ours = await box.sh(script)
    assert (ours.out, ours.code) == (real.stdout, real.returncode), ours.err + real.stderr


@pytest.mark.parametrize(
    ("script", "code", "out", "err"),
    [
        ("cat /nope", 1, "", "cat: can't open '/nope': No such file or directory\n"),
        ("ls /nope", 1, "", "ls: /nope: No such file or directory\n"),
        ("grep", 2, "", "grep: usage: grep [-EFivcqonrlLwx] PATTERN [FILE]...\n"),
        ("sleep x", 1, "", "sleep: invalid number 'x'\n"),
        ("rm /nope", 1, "", "rm: can't remove '/nope': No such file or directory\n"),
        ("mkdir /a/b", 1, "", "mkdir: can't create directory '/a/b': No such file or directory\n"),
        ("cd /nope", 2, "", "sh: cd: can't cd to /nope: No such file or directory\n"),
        ("echo x > /no/file", 1, "", "sh: can't create /no/file: nonexistent directory\n"),
        ("whoami; id -u; pwd", 0, "root\n0\n/\n", ""),
        ("echo -e 'a\\tb'; echo -n x", 0, "a\tb\nx", ""),
        ("which curl nslookup nope", 1, "/usr/bin/curl\n/usr/bin/nslookup\n", ""),
        ("wc -l /etc/hostname", 0, "1 /etc/hostname\n", ""),
        ("sed 'h'", 1, "", "sed: unsupported command h\n"),
        ("awk '{for (i=0;;) print}'", 2, "", "awk: 'for' is not supported by the built-in awk\n"),
        ("nslookup", 1, "", None),
        ("ls --nope", 1, "", "ls: unrecognized option: nope\n"),
    ],
)
async def test_what_busybox_says(script: str, code: int, out: str, err: str | None) -> None:
    """Messages and exit codes are busybox'."""
    result = await Box().sh(script)
    assert (result.code, result.out) == (code, out)
    if err is not None:
        assert result.err == err


async def test_ls_shows_what_busybox_shows() -> None:
    """The long form has mode, size and name; hidden files need -a."""
    box = Box()
    await box.sh("mkdir /d; printf 123 > /d/f; touch /d/.h; mkdir /d/sub")
    assert (await box.sh("ls /d")).out == "f\nsub\n"
    assert (await box.sh("ls -a /d")).out == ".\n..\n.h\nf\nsub\n"
    rows = (await box.sh("ls -l /d")).out.splitlines()
    assert rows[1].startswith("-rw-r--r--    1 root     root             3 ")
    assert rows[1].endswith(" f")
    assert rows[2].startswith("drwxr-xr-x")


async def test_mounts_are_real_folders(tmp_path: Path) -> None:
    """What a session writes into a mount is on disk, and what is on disk it reads; a link can't lead out."""
    (tmp_path / "in").write_text("outside")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a").write_text("volume")
    (tmp_path / "v" / "out").symlink_to("../in")
    box = Box(files={"/data": tmp_path / "v"})
    assert (await box.sh("cat /data/a")).out == "volume"
    await box.sh("mkdir /data/new; echo w > /data/new/f; mv /data/a /tmp/a; ln -s /data/new /short")
    assert (tmp_path / "v" / "new" / "f").read_text() == "w\n"
    assert not (tmp_path / "v" / "a").exists()
    assert (await box.sh("cat /tmp/a /short/f")).out == "volumew\n"
    assert (await box.sh("cat /data/out")).err == "cat: can't open '/data/out': Permission denied\n"
    box.container.extra["read_only"] = {"/data"}
    assert (await box.sh("touch /data/x")).err == "touch: /data/x: Read-only file system\n"


async def test_the_whole_tool_box_can_be_loaded() -> None:
    """Every name of the list has its coroutine."""
    from minikube_py.images.shell import tools

    assert [name for name in tools.NAMES if tools.find(name) is None] == []


async def test_processes_are_listed_and_killed() -> None:
    """ps shows what runs in the container; kill ends it."""
    result = await Box().sh("sleep 100 & pid=$!; ps | grep -c ' sleep 100$'; kill $pid; wait $pid; echo $?")
    assert result.out == "1\n143\n"


async def test_tail_follows_a_file() -> None:
    """tail -f writes what is appended."""
    result = await Box().sh(
        "echo 1 > /tmp/l; tail -f /tmp/l > /tmp/o & sleep 0.05; echo 2 >> /tmp/l; sleep 0.5; cat /tmp/o"
    )
    assert result.out == "1\n2\n"
