"""The queries that Grafana sends, read from the dashboards and the provisioned data sources."""

import json
import re
from pathlib import Path

from .sandbox import DrillFailed

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
# Four scrape intervals: the least that Grafana replaces it by.
RATE_INTERVAL = "20s"


def unique_keys(pairs):
    """Makes an object of JSON, which must not have a member twice."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DrillFailed(f"a dashboard's object has {twice[0]} twice")
    return dict(pairs)


class Dashboard:
    def __init__(self, path):
        self.name = path.name
        self.definition = json.loads(path.read_text(), object_pairs_hook=unique_keys)
        self.panels = list(self._panels(self.definition["panels"]))

    def _panels(self, panels):
        for panel in panels:
            yield panel
            yield from self._panels(panel.get("panels", []))

    def queries(self, source):
        """Returns the title of the panel and the expression, for each query to a source."""
        return [
            (panel["title"], target["expr"])
            for panel in self.panels
            for target in panel.get("targets", [])
            if target["datasource"]["uid"] == source
        ]

    def annotations(self):
        listed = self.definition.get("annotations", {}).get("list", [])
        return [(annotation["name"], annotation["expr"]) for annotation in listed]

    def variables(self):
        return [variable["name"] for variable in self.definition["templating"]["list"]]

    def faults(self):
        """Returns a sentence for each fault that Grafana would not report, but show."""
        yield from self._repeated("the id", [panel["id"] for panel in self.panels])
        yield from self._repeated("the title", [panel["title"] for panel in self.panels])
        for panel in self.panels:
            targets = [target["refId"] for target in panel.get("targets", [])]
            yield from self._repeated(f"{panel['title']}: the refId", targets)
            sources = [target["datasource"] for target in panel.get("targets", [])]
            for source in [*sources, panel.get("datasource")]:
                if source and source["uid"] not in SOURCES:
                    yield f"{self.name}: {panel['title']}: no source {source['uid']}"
        yield from self._overlaps()

    def _repeated(self, what, values):
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{self.name}: {what} {value!r} is used twice"

    def _overlaps(self):
        taken = {}
        for panel in self.panels:
            place = panel["gridPos"]
            if place["x"] + place["w"] > 24:
                yield f"{self.name}: {panel['title']} is wider than the page"
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    other = taken.setdefault((x, y), panel["title"])
                    if other != panel["title"]:
                        yield f"{self.name}: {panel['title']} covers {other}"
                        return


def replace_variables(expression, variables):
    """Replaces Grafana's and the dashboard's variables in an expression."""
    for name, value in ({"__rate_interval": RATE_INTERVAL} | variables).items():
        expression = re.sub(rf"\${name}\b|\$\{{{re.escape(name)}\}}", value, expression)
    if "$" in expression:
        raise DrillFailed(f"the drill does not know the variable in {expression}")
    return expression


def provisioned(key):
    """Returns the value of a key that occurs once in the provisioned sources.

    Grafana reads a doubled dollar sign as one.
    """
    text = (GRAFANA / "provisioning" / "datasources" / "valerix.yml").read_text()
    found = re.findall(rf"^\s*{key}: '(.*)'$", text, re.MULTILINE)
    if len(found) != 1:
        raise DrillFailed(f"the provisioned sources have {len(found)} values of {key}")
    return found[0].replace("$$", "$")


def provisioned_sources():
    text = (GRAFANA / "provisioning" / "datasources" / "valerix.yml").read_text()
    return re.findall(r"^    uid: (\S+)$", text, re.MULTILINE)


SOURCES = provisioned_sources()


def dashboards():
    return [Dashboard(path) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]
