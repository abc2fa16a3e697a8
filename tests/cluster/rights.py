"""Rights to the API server: those that a ServiceAccount was granted, and those that it used, by the audit log.

A right is compared as RBAC grants it: a group, a resource with its subresource, a verb and, where a rule limits itself
to objects by name, that name. A wildcard in a rule is a right that no request ever uses as such.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

Body = dict[str, Any]
_POD = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True, order=True)
class Right:
    """`name`: of the one object that the rule speaks of; empty: of all."""

    group: str
    resource: str
    verb: str
    name: str = ""


def granted(rules: Iterable[Body]) -> set[Right]:
    """What rules about resources (of a Role, or of a SelfSubjectRulesReview) grant, one by one."""
    return {
        Right(*each)
        for rule in rules
        for each in product(rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames") or [""])
    }


@dataclass(frozen=True)
class Request:
    """A request that a ServiceAccount made. `pod`: whose token it showed, empty for a token of no pod."""

    account: str
    pod: str
    verb: str
    uri: str
    refused: bool
    target: Body | None
    """What it was about, as audit.k8s.io/v1 says; None for what is no resource."""

    def __str__(self) -> str:
        return f"{self.verb} {self.uri} by {self.account}"

    def right(self, rights: set[Right]) -> Right:
        """The right that it needed; the limited one only where `rights` hold no wider one."""
        about = self.target or {}
        resource = "/".join(about[key] for key in ("resource", "subresource") if key in about)
        wide = Right(about.get("apiGroup", ""), resource, self.verb)
        narrow = Right(wide.group, resource, self.verb, about.get("name", ""))
        return narrow if narrow in rights and wide not in rights else wide


def requests(log: Path, namespace: str) -> Iterator[Request]:
    """What the ServiceAccounts of a namespace asked of the API server up to now. A watch is in it from its start."""
    for line in log.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            return  # in the writing
        event: Body = json.loads(line)
        user, notes = event["user"], event.get("annotations", {})
        kind, _, account = user["username"].rpartition(":")
        if kind == f"system:serviceaccount:{namespace}":
            yield Request(
                account=account,
                pod=user.get("extra", {}).get(_POD, [""])[0],
                verb=event["verb"],
                uri=event["requestURI"],
                refused=notes.get("authorization.k8s.io/decision") != "allow",
                target=event.get("objectRef"),
            )
