"""What needs no cluster: which one is chosen and why none is, addresses, the tar of an image, rights in a log."""

from __future__ import annotations

import json
import warnings
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from .fixtures import Wish, skip_unless_wanted
from .node import image
from .node.ranges import NoFreeRange, free
from .rights import Right, granted, requests


def _wish(cluster: str = "", context: str = "", kubeconfig: str = "") -> Wish:
    return Wish(cluster, context, "", "", kubeconfig)


def _lines_of_a_skip(wish: Wish) -> list[str]:
    # Warnings made errors must not turn the skip into one.
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        with pytest.raises(pytest.skip.Exception):
            skip_unless_wanted(wish)
    return [str(each.message) for each in seen]


def test_without_a_wish_no_cluster_is_touched_and_one_line_says_how_to_get_one() -> None:
    (line,) = _lines_of_a_skip(_wish())
    assert line.startswith("SKIPPED for want of a cluster: set FLEET_TEST_CLUSTER=build")
    assert "FLEET_TEST_CONTEXT" in line


def test_a_bare_kubeconfig_is_ignored_with_one_line() -> None:
    line, _ = _lines_of_a_skip(_wish(kubeconfig="/home/me/production"))
    assert line.startswith("KUBECONFIG=/home/me/production is IGNORED")


@pytest.mark.parametrize("wish", [_wish(cluster="yes"), _wish(cluster="build", context="mine")])
def test_settings_that_make_no_sense_fail_and_do_not_skip(wish: Wish) -> None:
    with pytest.raises(pytest.fail.Exception, match="FLEET_TEST_CLUSTER"):
        skip_unless_wanted(wish)


def test_the_range_avoids_what_routes_use() -> None:
    taken = [IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.77/32"), IPv4Network("10.0.0.0/8")]
    found = free(taken)
    assert found.node == "198.51.100.130"
    for part in (found.link, found.pods, found.services):
        assert IPv4Network("198.51.100.128/25").supernet_of(IPv4Network(part))
    assert not IPv4Network(found.pods).overlaps(IPv4Network(found.services))


def test_many_nodes_leave_the_ranges_alone_that_laboratories_use() -> None:
    taken: list[IPv4Network] = []
    for _ in range(10):
        taken.append(IPv4Network(f"{free(taken).link.partition('/')[0]}/25"))
    assert not any(each.subnet_of(IPv4Network("203.0.113.0/24")) for each in taken)


def test_no_free_range_is_an_error() -> None:
    with pytest.raises(NoFreeRange, match="ip route show table all"):
        free([IPv4Network("192.0.0.0/2")])


def test_an_image_is_the_same_bytes_each_time_and_knows_its_name(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!")
    first, second = (
        image.write(tmp_path / each, "localhost/x:1", {"program": program}, ["/program"]) for each in ("a.tar", "b.tar")
    )
    assert first.read_bytes() == second.read_bytes()
    assert image.names(first) == ["localhost/x:1"]


def _asked(verb: str, decision: str = "allow", account: str = "shop:op", **target: str) -> str:
    user = {
        "username": f"system:serviceaccount:{account}",
        "extra": {"authentication.kubernetes.io/pod-name": ["op-1"]},
    }
    notes = {"authorization.k8s.io/decision": decision}
    event = {"verb": verb, "requestURI": "/x", "user": user, "objectRef": target or None, "annotations": notes}
    return json.dumps(event) + "\n"


def test_a_request_needs_one_right_and_a_wildcard_is_another(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    scale = {"apiGroup": "apps", "resource": "deployments", "subresource": "scale", "name": "a"}
    lines = [
        _asked("patch", **scale),
        _asked("create", "forbid", resource="events"),
        _asked("get"),
        _asked("list", account="other:op", resource="pods"),
        _asked("list", resource="pods")[:40],
    ]
    log.write_text("".join(lines))
    patch, create, get = requests(log, "shop")
    assert (patch.refused, create.refused, get.target) == (False, True, None)
    assert (patch.account, patch.pod) == ("op", "op-1")
    assert create.right(set()) == Right("", "events", "create")
    about = ("apps", "deployments/scale")
    for verb, names, unused in (
        ("patch", [], set()),
        ("patch", ["a"], set()),
        ("patch", ["a", "b"], {Right(*about, "patch", "b")}),
        ("get", [], {Right(*about, "get")}),
        ("*", [], {Right(*about, "*")}),
    ):
        rule = {"apiGroups": about[:1], "resources": about[1:], "verbs": [verb], "resourceNames": names}
        rights = granted([rule])
        assert rights - {patch.right(rights)} == unused
