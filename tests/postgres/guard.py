"""A shell that reads from us until we are gone, then ends what we started: so it does not outlive us."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

# Reads the number of a process each time that one starts, an empty line when it has ended.
_SCRIPT: Final = """
while read -r line; do process=$line; done
if [ -n "$process" ]; then
    kill -QUIT "$process" 2>/dev/null
    for _ in $(seq 100); do kill -0 "$process" 2>/dev/null || break; sleep 0.1; done
fi
rm -rf "$1"
"""


class Guard:
    """Stops a process and removes its directory when we are gone, even where we are killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "guard", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a signal from the terminal is not for it
        )

    def watch(self, process: "subprocess.Popen[Any] | None") -> None:
        """Name the process that is to end with us; ``None`` when there is none just now."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{process.pid if process else ''}\n")
        self._shell.stdin.flush()

    def close(self) -> None:
        """Do at once what is to be done in the end."""
        if self._shell.returncode is None:
            assert self._shell.stdin is not None
            self._shell.stdin.close()
            self._shell.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
