"""The entry point: the list of verbs, and what an error looks like."""

import errno
import sys
from importlib import import_module
from typing import Any

import click

from minikube_py import __version__
from minikube_py.cli.console import ExitCode, Failure

__all__ = ["main"]

VERBS: dict[str, tuple[str, str]] = {
    # verb: (module, one line of help); the order is that of `mkpy --help`
    "up": ("up", "Start a cluster, apply manifests, print the addresses that work."),
    "down": ("down", "Stop a cluster; fine if there is none."),
    "ls": ("ls", "List the running clusters."),
    "status": ("status", "Show nodes, pods, Services, URLs and problems of a cluster."),
    "wiring": ("wiring", "Try every Service, env edge and Ingress row of a cluster, or of manifests (-f)."),
    "validate": ("validate", "Check manifests without starting anything."),
    "demo": ("demo", "Play one of the demos."),
    "curl": ("curl", "Run the real curl, as a pod or from outside."),
    "dig": ("dig", "Ask the cluster's DNS, as a pod or from outside."),
    "why": ("why", "Say why a pod reaches another or not, hop by hop."),
    "matrix": ("matrix", "Print who reaches whom."),
    "kubeconfig": ("kubeconfig", "Print the kubeconfig's path."),
    "ca": ("ca", "Print the path of the cluster's CA certificate (curl --cacert)."),
    "env": ("env", "Print shell exports: KUBECONFIG and addresses."),
    "kill": ("kill", "Kill a pod, or one pod of a workload."),
    "node": ("node", "Add, remove, switch off and on, cordon and drain nodes."),
    "get": ("kubectl", "kubectl get …, on this cluster."),
    "describe": ("kubectl", "kubectl describe …, on this cluster."),
    "logs": ("kubectl", "kubectl logs …, on this cluster."),
    "exec": ("kubectl", "kubectl exec …, on this cluster."),
    "apply": ("kubectl", "kubectl apply …, on this cluster."),
    "delete": ("kubectl", "kubectl delete …, on this cluster."),
    "scale": ("kubectl", "kubectl scale …, on this cluster."),
    "rollout": ("kubectl", "kubectl rollout …, on this cluster."),
    "wait": ("kubectl", "kubectl wait …, on this cluster."),
    "kubectl": ("kubectl", "Any other kubectl command, on this cluster."),
}

_LATER = ("flows", "doctor", "dashboard", "learn", "export", "shell")


class _Verbs(click.Group):
    """Imports a verb's module when the verb is called, not when help is printed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"minikube_py.cli.{VERBS[cmd_name][0]}")
        command: click.Command = module.command_for(cmd_name) if hasattr(module, "command_for") else module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from minikube_py.apimachinery.names import nearest

            if name in _LATER:
                raise Failure(f'"mkpy {name}" is not there yet; see: mkpy --help', ExitCode.USAGE)
            like = nearest(name, VERBS)
            raise Failure(
                f'there is no command "{name}"' + (f"; did you mean: mkpy {like}" if like else "; see: mkpy --help"),
                ExitCode.USAGE,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mkpy")
@click.option("--debug", is_flag=True, help="Show tracebacks and debug logs.")
def _mkpy(debug: bool) -> None:
    """The Kubernetes network in one Python process: real sockets, no Docker, no root.

    \b
    mkpy demo coffee-shop             see it work
    mkpy up -f k8s/                   your manifests, until Ctrl-C
    mkpy up -d -f k8s/; mkpy status   the same, in the background
    """
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def main(args: list[str] | None = None) -> Any:
    """Run mkpy; exit with a code of `ExitCode` or a child's own."""
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    arguments = [arg for arg in arguments if arg != "--debug"] if debug else arguments
    try:
        code = _mkpy.main(["--debug", *arguments] if debug else arguments, prog_name="mkpy", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else ExitCode.OK)
    except Failure as failure:
        if debug:
            raise
        click.echo(f"error: {failure}", err=True)
        sys.exit(failure.code)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        if isinstance(error, click.UsageError) and error.ctx:
            click.echo(f"next: {error.ctx.command_path} --help", err=True)
        sys.exit(ExitCode.USAGE)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {place}{error.strerror}; make room, or set XDG_RUNTIME_DIR elsewhere", err=True)
            sys.exit(ExitCode.USAGE)
        click.echo(
            f"error: {type(error).__name__}: {error}\n"
            "This is a bug in minikube_py; run the command again with --debug and report what it prints.",
            err=True,
        )
        sys.exit(ExitCode.BUG)
