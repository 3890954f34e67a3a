"""The gateway before a fleet: routes to upstreams of several targets, and what it says of these."""

import os

from fortress import Fortress


class Harbour(Fortress):
    """One database; upstreams are added while it is served."""

    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.boss = self.sign_in("superadmin")
        self.module = self.call("POST", "/modules/", {"name": "harbour", "label": "Harbour"}, self.boss)["id"]
        self.fleet = None

    def giant(self, size):
        """A file of holes, which costs the disk nothing."""
        with open(self.folder.parent / "giant", "wb") as file:
            os.truncate(file.fileno(), size)

    def lead(self, route, name, ports, more=None):
        """Makes an upstream of these ports, and a public route to it."""
        targets = [{"address": f"127.0.0.1:{port}"} for port in ports]
        made = self.call("POST", "/upstreams/", {"name": name, "targets": targets, **(more or {})}, self.boss)
        operations = [{"methods": ["GET", "HEAD", "POST"], "access": "public"}]
        self.call("POST", "/routes/", {
            "module_id": self.module, "route": route, "label": name, "upstream": name, "operations": operations,
        }, self.boss)
        self.fleet = made["id"]

    def target_states(self):
        """Targets that are left out, as the admin API tells, and why."""
        told = self.call("GET", f"/upstreams/{self.fleet}/health", token=self.boss)
        out = [target["out"] for target in told["targets"] if not target["is_well"]]
        return ", ".join(f"by {fault['by']}: {fault['kind']}" for fault in out) or "none"
