#!/usr/bin/env python3
"""Makes what TestAirflow compares the matcher with, without the matcher.

usage: expect.py CHARTS VULNDB, from this folder
  CHARTS  folder with airflow-VERSION.tgz, the releases of airflow-helm/charts
  VULNDB  folder data/ of bitnami/vulndb

README.md says what is written, and how it was checked.
"""
import glob
import json
import os
import re
import sys
import tarfile

import yaml

# Read by a person from the tags, one by one. No rule made this table.
# Images that no record is about have no component.
VERSIONS = {
    "apache/airflow:1.10.12-python3.6": ("airflow", (1, 10, 12)),
    "apache/airflow:2.0.1-python3.8": ("airflow", (2, 0, 1)),
    "apache/airflow:2.1.1-python3.8": ("airflow", (2, 1, 1)),
    "apache/airflow:2.1.2-python3.8": ("airflow", (2, 1, 2)),
    "apache/airflow:2.1.4-python3.8": ("airflow", (2, 1, 4)),
    "apache/airflow:2.2.5-python3.8": ("airflow", (2, 2, 5)),
    "apache/airflow:2.5.3-python3.8": ("airflow", (2, 5, 3)),
    "apache/airflow:2.6.3-python3.9": ("airflow", (2, 6, 3)),
    "apache/airflow:2.8.4-python3.9": ("airflow", (2, 8, 4)),
    "ghcr.io/airflow-helm/pgbouncer:1.15.0-patch.0": ("pgbouncer", (1, 15, 0)),
    "ghcr.io/airflow-helm/pgbouncer:1.17.0-patch.0": ("pgbouncer", (1, 17, 0)),
    "ghcr.io/airflow-helm/pgbouncer:1.18.0-patch.1": ("pgbouncer", (1, 18, 0)),
    "ghcr.io/airflow-helm/pgbouncer:1.22.1-patch.0": ("pgbouncer", (1, 22, 1)),
    "docker.io/bitnami/postgresql:11.7.0-debian-10-r9": ("postgresql", (11, 7, 0)),
    "ghcr.io/airflow-helm/postgresql-bitnami:11.16-patch.0": ("postgresql", (11, 16, 0)),
    "ghcr.io/airflow-helm/postgresql-bitnami:11.22-patch.0": ("postgresql", (11, 22, 0)),
    "docker.io/bitnami/redis:5.0.7-debian-10-r32": ("redis", (5, 0, 7)),
    "docker.io/bitnami/redis:5.0.14-debian-10-r173": ("redis", (5, 0, 14)),
    "docker.io/bitnami/redis:6.2.14-debian-12-r17": ("redis", (6, 2, 14)),
    "alpine/git:latest": None,
    "k8s.gcr.io/git-sync/git-sync:v3.2.2": None,
    "k8s.gcr.io/git-sync/git-sync:v3.5.0": None,
    "registry.k8s.io/git-sync/git-sync:v3.6.5": None,
    "registry.k8s.io/git-sync/git-sync:v3.6.9": None,
}
COMPONENTS = ("airflow", "pgbouncer", "postgresql", "redis")


def reference(image):
    name = image["repository"]
    if image.get("registry"):
        name = image["registry"] + "/" + name
    return name + ":" + str(image["tag"])


def images_below(path, value):
    """Yields every mapping named image that has a repository."""
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key == "image" and isinstance(inner, dict) and inner.get("repository"):
            yield path + "." + key, reference(inner)
        else:
            yield from images_below(path + "." + key, inner)


def defaults(archive):
    """The images of one chart: what its values name, over those of the two charts in it."""
    with tarfile.open(archive) as tar:
        read = lambda path: yaml.safe_load(tar.extractfile(path))
        values = read("airflow/values.yaml")
        yield "airflow.image", reference(values["airflow"]["image"])
        for part in ("postgresql", "redis"):
            image = dict(read("airflow/charts/%s/values.yaml" % part)["image"])
            image.update((values.get(part) or {}).get("image") or {})
            yield part + ".image", reference(image)
        if "pgbouncer" in values:
            yield "pgbouncer.image", reference(values["pgbouncer"]["image"])
        yield from images_below("dags", values.get("dags"))


def numbers(text):
    """Three numbers. What is anything else stops the script, to be looked at."""
    if text == "0":
        return (0, 0, 0)
    if not re.fullmatch(r"\d+\.\d+\.\d+", text):
        raise SystemExit("no plain version: " + text)
    return tuple(int(n) for n in text.split("."))


def affected(events, version):
    """Each introduced begins an interval that ends at the next fixed, or behind the next last_affected."""
    for begin in (numbers(e["introduced"]) for e in events if "introduced" in e):
        ends = [(numbers(e["fixed"]), False) for e in events if "fixed" in e and numbers(e["fixed"]) > begin]
        ends += [(numbers(e["last_affected"]), True) for e in events
                 if "last_affected" in e and numbers(e["last_affected"]) >= begin]
        if begin > version:
            continue
        if not ends:
            return True
        end, including = min(ends)
        if version < end or including and version == end:
            return True
    return False


def main(charts, vulndb):
    records = []  # component, id, alias, events
    for component in COMPONENTS:
        for path in sorted(glob.glob(os.path.join(vulndb, component, "*.json"))):
            with open(path) as f:
                record = json.load(f)
            assert len(record["affected"]) == 1 and len(record["affected"][0]["ranges"]) == 1 and len(record["aliases"]) == 1
            assert record["affected"][0]["package"] == {"ecosystem": "Bitnami", "name": component, "purl": "pkg:bitnami/" + component}
            assert "withdrawn" not in record and record["affected"][0]["ranges"][0]["type"] == "SEMVER"
            records.append((component, record["id"], record["aliases"][0], record["affected"][0]["ranges"][0]["events"]))
    with open("records.tsv", "w") as f:
        for component, name, alias, events in records:
            text = " ".join("%s:%s" % pair for e in events for pair in e.items())
            f.write("\t".join((component, name, alias, text)) + "\n")

    rows, found = [], glob.glob(os.path.join(charts, "airflow-*.tgz"))
    for archive in found:
        version = re.fullmatch(r"airflow-(\d+\.\d+\.\d+)\.tgz", os.path.basename(archive)).group(1)
        rows += [(version, where, image) for where, image in defaults(archive)]
    rows.sort(key=lambda row: (numbers(row[0]), row[1]))
    with open("images.tsv", "w") as f:
        f.writelines("\t".join(row) + "\n" for row in rows)

    opened = {}  # of an image
    with open("open.tsv", "w") as f:
        for image, meaning in VERSIONS.items():
            if image not in {row[2] for row in rows}:
                raise SystemExit("no chart has " + image)
            if meaning is None:
                f.write(image + "\t\t\tunknown\n")
                continue
            component, version = meaning
            ids = sorted(name for c, name, _, events in records if c == component and affected(events, version))
            f.write("\t".join((image, component, ".".join(map(str, version)), " ".join(ids))) + "\n")
            opened[image] = (component, ids)
    before = {}
    with open("changes.tsv", "w") as f:
        for version, where, image in rows:
            if image not in opened:
                continue
            component, ids = opened[image]
            if component in before:
                was = before[component]
                closed, introduced = [i for i in was if i not in ids], [i for i in ids if i not in was]
                if closed or introduced:
                    f.write("\t".join((version, component, " ".join(closed), " ".join(introduced))) + "\n")
            before[component] = ids
    unread = {row[2] for row in rows} - set(VERSIONS)
    if unread:
        raise SystemExit("read these tags by hand: " + " ".join(sorted(unread)))
    print(len(found), "charts,", len(rows), "images,", len(records), "records")


main(*sys.argv[1:])
