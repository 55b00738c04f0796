"""The nodes that the memory store knows, and what they were asked to cancel."""

from collections import Counter
from typing import final

from msgspec.structs import replace

from asyncsched.run import RunRecord
from asyncsched.stores._live_runs import LiveRuns
from asyncsched.stores.base import KnownNode, Node

__all__ = ["NodeTable"]


@final
class NodeTable:
    """Nodes by id, in the order in which they joined, and requests to cancel runs of theirs."""

    __slots__ = ("_cancellations", "_live", "_rows")

    def __init__(self, live: LiveRuns) -> None:
        self._live = live
        self._rows: dict[str, KnownNode] = {}
        self._cancellations: set[str] = set()  # run ids, some of them over by now

    def join(self, node: Node, now: int, until: int) -> None:
        """Give a node a lease until then."""
        self._rows.pop(node.id, None)
        self._rows[node.id] = KnownNode(node, now, until, 0)

    def renew(self, node: Node, until: int) -> bool:
        """Renew a node's lease; see `JobStore.renew`."""
        known = self._rows.get(node.id)
        if known is None:
            return False
        self._rows[node.id] = replace(known, node=node, lease_until=until)
        return True

    def leave(self, node_id: str) -> None:
        """Forget a node without runs; see `JobStore.leave`."""
        if all(run.node != node_id for run in self._live.running_rows()):
            self._rows.pop(node_id, None)

    def known(self) -> list[KnownNode]:
        """Return the nodes that are known; see `JobStore.nodes`."""
        running = Counter(run.node for run in self._live.running_rows())
        return [replace(known, running=running[node_id]) for node_id, known in self._rows.items()]

    def give_up(self, now: int) -> list[RunRecord]:
        """Forget the nodes whose lease ran out; return the running rows that belong to no node any more.

        Runs of a node that has no lease at all are among them: it began them after it was given up
        itself, before it noticed.
        """
        self._rows = {node_id: known for node_id, known in self._rows.items() if known.lease_until > now}
        return [run for run in self._live.running_rows() if run.node not in self._rows]

    def request_cancel(self, run_id: str) -> bool:
        """Ask for a running run to be cancelled; see `JobStore.request_cancel`."""
        run = self._live.rows.get(run_id)
        if run is None or run.state != "running":
            return False
        self._cancellations.add(run_id)
        return True

    def is_asked(self, run_id: str) -> bool:
        """Tell whether a run was asked to be cancelled."""
        return run_id in self._cancellations

    def cancellations(self, node_id: str) -> list[str]:
        """Return the runs of a node that were asked to be cancelled; see `JobStore.cancellations`."""
        live = self._live.rows
        self._cancellations.intersection_update(live)
        asked = [live[run_id] for run_id in sorted(self._cancellations)]
        return [run.id for run in asked if run.state == "running" and run.node == node_id]
