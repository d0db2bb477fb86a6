"""`python -m minikube_py`: the same program as `mkpy`."""

from minikube_py.cli.entry import main

if __name__ == "__main__":
    main()
