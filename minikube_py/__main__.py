"""`python -m minikube_py`: the same program as `mkpy`."""

from minikube_py.cli.main import main

if __name__ == "__main__":
    main()
