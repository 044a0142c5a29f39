"""``python -m pybernetes.cli`` is ``p8s``: how background components are started, wherever the script lies."""

from pybernetes.cli.main import main

if __name__ == "__main__":
    main()
