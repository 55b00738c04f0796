"""One node of several on a database: ``node.py SYSTEM DSN TOTAL``, started by the question ``nodes``.

Says that it is ready, fires from the line ``go`` on, answers each line ``count`` with how many outcomes
it has recorded and when the last, and ends with its input.
"""

import json
import sys
import threading
import time

from benchmarks import systems
from benchmarks.systems.base import PostgresDatabase

_LOOK_AGAIN = 0.005


class _Recorded:
    """What the loop has recorded, as the thread that answers sees it."""

    def __init__(self) -> None:
        self.answer: tuple[int, float] = (0, time.monotonic())
        self.told_to_go = False
        self.told_to_end = False

    def listen(self) -> None:
        """Answer the lines of the input."""
        print(json.dumps(self.answer), flush=True)
        for line in sys.stdin:
            if line.strip() == "go":
                self.told_to_go = True
            else:
                print(json.dumps(self.answer), flush=True)
        self.told_to_end = True


def main() -> None:
    """Be a node until the input ends."""
    name, dsn, total = sys.argv[1:]
    system = systems.load(name)
    recorded = _Recorded()

    async def live() -> None:
        async with system.open(PostgresDatabase(dsn)) as session:
            threading.Thread(target=recorded.listen, daemon=True).start()
            while not recorded.told_to_go and not recorded.told_to_end:
                await system.sleep(0.001)
            await session.release()
            while not recorded.told_to_end:
                count = await session.wait_recorded(int(total), _LOOK_AGAIN)
                if count != recorded.answer[0]:
                    recorded.answer = (count, time.monotonic())
                if count == int(total):
                    await system.sleep(_LOOK_AGAIN)

    system.run(live)


if __name__ == "__main__":
    main()
