"""What bash has beyond POSIX, each script against the machine's own bash."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from .boxes import Box

BASH = {
    "double brackets": ("[[ abc == a* && ! ( x == y ) ]] && echo m; [[ $x -lt 3 ]] || echo n; [[ a < b ]] && echo lt"),
    "regular expression": "[[ v1.22 =~ ^v([0-9]+) ]] && echo re",
    "brace expansion": "echo {1..3} a{b,c}d {01..03}",
    "C-style for": "for ((i=0; i<3; i++)); do echo $i; done",
    "arithmetic command": "i=1; (( i++ )); echo $i; (( 0 )) || echo zero",
    "here-string": 'cat <<< "a b"',
    "replacement": "x=aXbXc; echo ${x/X/-} ${x//X/-} ${x:1:2} ${x^^} ${x,,}",
    "both streams": "{ echo o; echo e >&2; } &> $T/f; cat $T/f",
    "pipefail": "set -o pipefail; false | true; echo $?",
    "ANSI quotes": "echo $'a\\tb\\x41'",
    "function keyword": "function f { echo $1; }; f x",
    "append": "x=a; x+=b; echo $x",
    "indirect": "a=b; b=c; echo ${!a}",
    "arrays": 'a=(1 2 "3 4"); a+=(z); echo ${a[0]} ${a[-1]} ${#a[@]} ${#a[2]} ${!a[@]}; printf "<%s>" "${a[@]}"',
    "an array in one word": 'a=(x y); echo "${a[*]}"; IFS=,; echo "${a[*]}"; b=("${a[@]/#/p}"); echo "${b[@]}"',
    "sparse arrays": 'a=(); a[5]=five; a[2]=two; echo "${!a[@]}" "${a[@]}"; unset "a[2]"; echo ${!a[@]} [${a[2]}]',
    "subscripts in a list": "a=([3]=c [1]=a b); echo ${!a[@]} ${a[@]}",
    "a list over several lines": "a=(\n  one  # comment\n  'two # not'\n); echo ${#a[@]} ${a[1]}",
    "associative arrays": (
        'declare -A m=([one]=1); m["a b"]=2; k="a b"; m[$k]+=x; echo "${m[one]} ${m[a b]} ${#m[@]}"'
    ),
    "keys of an associative array": (
        'declare -A m=([a]=1 [b]=2); for k in "${!m[@]}"; do echo $k=${m[$k]}; done | sort'
    ),
    "is an element set": (
        "declare -A m=([k]=); [[ -v m[k] ]] && echo yes; [[ -v m[z] ]] || echo no; unset 'm[k]'; echo ${#m[@]}"
    ),
    "slices": 'a=(0 1 2 3 4); echo ${a[@]:2} ${a[@]:1:2} ${a[@]: -2}; set -- a b c; echo "${@:2}" "${@: -1}"',
    "elements in arithmetic": "a=(1 2 3); i=2; (( a[1] += 10 )); echo ${a[1]} $(( a[i] + a[i-1] ))",
    "a scalar is an array of one": "x=s; echo ${x[0]} ${#x[@]}; x[1]=t; echo ${x[@]}",
    "no words of an empty array": (
        'set -u; a=(); for i in "${a[@]}"; do echo x; done; echo "${a[@]+"${a[@]}"}" "${a[@]:-none}"'
    ),
    "sorted into an array": "a=(3 1 2); s=($(printf '%s\\n' \"${a[@]}\" | sort)); echo ${s[@]}",
    "a command in an array": 'c=(echo -n "x y"); "${c[@]}"; a=(1 2); unset a[0]; echo "${a[@]@Q}"',
    "groups of a match": "[[ db-12 =~ ^([a-z]+)-([0-9]+)$ ]]; echo ${BASH_REMATCH[@]} $((10 + BASH_REMATCH[2]))",
    "classes in a match": (
        '[[ "a.log\t12" =~ ^(.*?)[[:space:]]+(.*?)$ ]] && echo "${BASH_REMATCH[1]}|${BASH_REMATCH[2]}"'
    ),
    "a quoted expression is text": 're="a.b"; [[ axb =~ $re ]] && echo 1; [[ axb =~ "a.b" ]] || echo 2',
    "conditions in parentheses": "[[ -n $x || ( 1 -eq 1 && ! -f /nope ) ]] && echo ok",
    "case and quoting": "x=\"it's a\"; echo ${x@Q} ${x^^} ${x^} ${x@U} ${x^^[a-i]}; printf '%q ' 'a b' '' c",
    "substrings": "x=hello; echo ${x:1:3} ${x: -3} ${x:1:-1} ${x/#he/HE} ${x/%lo/LO} ${x//[el]/_}",
    "indirect elements": "a=(p q); r='a[1]'; echo ${!r}; r='a[@]'; echo ${!r}; vx=1; vy=2; echo ${!v*}",
    "references": "f() { local -n r=$1; r+=(new); }; a=(1); f a; echo ${a[@]}",
    "local arrays": 'f() { local -a l=(1 2); l+=(3); echo ${l[@]}; }; l=out; f; echo "$l"',
    "integers": "declare -i n=5; n+=3; echo $n; n=2*4; echo $n",
    "declarations told": 'declare -a a=(1 "b c"); declare -p a; x=\'a"b$\'; declare -p x; export E=1; declare -p E',
    "read-only": "declare -r c=1; (c=2) 2>/dev/null; echo $?",
    "mapfile": (
        "printf 'a\\nb c\\n' > $T/f; mapfile -t l < $T/f; echo "
        "${#l[@]} ${l[1]}; readarray l < $T/f; printf '<%s>' \"${l[@]}\""
    ),
    "read into an array": "IFS=, read -ra l <<< x,y,z; echo ${l[2]} ${#l[@]}; read <<< '  r  '; echo \"[$REPLY]\"",
    "printf into a variable": "printf -v v %03d 7; printf -v 'a[2]' x; echo $v ${a[2]}",
    "process substitution": (
        "while read l; do n=$((n+1)); done < <(seq 3); echo $n; "
        "cat <(echo 1) <(echo 2); mapfile -t a < <(seq 2); echo ${a[@]}"
    ),
    "a file's content": "echo data > $T/d; echo $(<$T/d); x=$(</nope) 2>/dev/null; echo [$x]",
    "here-strings on descriptors": "exec 5<<< 'l1'; read -u 5 a; echo $a; exec 5<&-",
    "nobody listens": (
        "exec 3<>/dev/tcp/127.0.0.1/1 || echo failed; (echo > /dev/tcp/127.0.0.1/1) && echo open || echo closed"
    ),
    "wait for the next": "sleep 60 & (exit 3) & wait -n; echo $?; kill %1; wait; echo $?; wait -n; echo $?",
    "codes of a pipeline": "false | true | (exit 3); echo ${PIPESTATUS[@]}; true; echo ${PIPESTATUS[0]}",
    "trap ERR": "trap 'echo err $?' ERR; false; true; (exit 3); if false; then :; fi; echo end",
    "a signal ends a wait": ("trap 'echo got' TERM; sleep 5 & (sleep 0.01; kill -TERM $$) & wait %1; echo $?; kill %1"),
    "signal of one's own": (
        "trap 'echo U' USR1; kill -USR1 $$; trap; kill -0 $$ && echo alive; kill -0 99999 || echo dead"
    ),
    "errexit in substitutions": "set -e; x=$(false; echo a); echo [$x]; y=$(false); echo never",
    "unset variables": "set -u; echo $nope; echo never",
    "endless for": (
        "for ((;;)); do ((n++ > 2)) && break; done; echo $n; for ((i=0,j=9; i<j; i+=3,j--)); do echo $i $j; done"
    ),
    "case goes on": "case abc in a*) echo 1;;& *c) echo 2;& x) echo 3;; *) echo 4;; esac",
    "braces": 'echo {1..5..2} {5..1} x{,y} {a..e} {01..10..3} "{a,b}" a{b,c{d,e}}f {a} {} {,} {a,b}{1,2}',
    "extended patterns": (
        "shopt -s extglob\ncase abc in +(a|b|c)) echo m;; esac; x=00042; echo ${x##+(0)} ${x/@(42|7)/X}"
    ),
    "extended patterns in conditions": (
        "[[ b == ?(a)b ]] && echo 1; [[ xyz == !(abc) ]] && echo 2; [[ abc == !(abc) ]] || echo 3"
    ),
    "nullglob": "shopt -s nullglob; echo /nope/*; shopt -u nullglob; echo /nope/*; shopt -q nullglob; echo $?",
    "what a shell knows": ("SECONDS=5; echo $SECONDS; [[ $RANDOM -ge 0 && -n $HOSTNAME ]] && echo ${BASH_VERSION:+v}"),
    "callers": 'f() { echo "${FUNCNAME[0]} ${FUNCNAME[1]}"; }; g() { f; }; g; type -t f cd nope',
    "folders": "cd /; pushd /tmp > /dev/null; pwd; popd > /dev/null; pwd",
    "a redirection beside an assignment": (
        "x=$(echo a; echo b >&2) 2>/dev/null || true; echo $x; y=1 > $T/q; [ -e $T/q ] && echo $y"
    ),
    "settings from files": (
        'fe() { local v="$1" f="${1}_FILE"; if [ "${!f:-}" ]; then export "$v"="$(< "${!f}")"; fi; unset "$f"; };'
        "echo s > $T/s; Q_FILE=$T/s; fe Q; echo $Q ${Q_FILE-unset}"
    ),
}
"""Name → a script that bash understands in the same way."""


@pytest.mark.parametrize("name", BASH)
async def test_a_script_does_what_the_real_bash_does(name: str, tmp_path: Path) -> None:
    """Output and exit code are those of the machine's own bash."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine to compare with")
    environment = {"PATH": "/usr/bin:/bin", "T": str(tmp_path)}
    real = subprocess.run(  # noqa: ASYNC221  # nothing else runs meanwhile
        [bash, "-c", BASH[name]], capture_output=True, text=True, env=environment, check=False
    )
    ours = await Box(env={"T": "/tmp"}).sh(BASH[name], shell="bash")
    assert (ours.out, ours.code) == (real.stdout, real.returncode), ours.err


async def test_a_connection_is_a_descriptor() -> None:
    """`exec 3<>/dev/tcp/…` speaks with a server, and the end of the script hangs up."""
    ended = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.readline())
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    script = f'exec 3<>/dev/tcp/127.0.0.1/{port}; echo pod >&3; read -u 3 line; echo "$line"; cat <&3 & kill $!'
    result = await Box().sh(script, shell="bash")
    assert result.out == "hello pod\n"
    await asyncio.wait_for(ended.wait(), 5)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("script", ["cat < <(echo x)", "exec 3<>/dev/tcp/127.0.0.1/1", "echo ${x@Q} $(a=(1))"])
async def test_sh_knows_none_of_it(script: str) -> None:
    """ash stumbles where a script needs bash."""
    assert (await Box().sh(script)).code != 0
