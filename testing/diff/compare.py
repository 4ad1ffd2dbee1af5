"""What differs between two answers, once what must differ (ports, times, versions) is out of the way."""
import json
import re

# Headers that clients look at.
HEADERS = ["Content-Type", "Location", "Allow", "WWW-Authenticate", "Retry-After"]

# Fields whose values are a worker's own; that they are there, and of which type, is compared.
OWN_VALUES = {"documentation", "worker_id", "trace", "kafka_cluster_id", "commit", "last_modified", "version"}

ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost):\d+\b")

ABSENT = "(absent)"


class Difference:
    def __init__(self, request, place, kafka, ours):
        self.request, self.place, self.kafka, self.ours = request, place, kafka, ours

    def __str__(self):
        return f"{self.request}\n    {self.place}\n      kafka: {show(self.kafka)}\n      ours:  {show(self.ours)}"


def show(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + "…"


def differences(request, kafka, ours):
    """All differences of two answers to a request."""
    found = []

    def note(place, one, other):
        found.append(Difference(request, place, one, other))

    if kafka.status != ours.status:
        note("status", kafka.status, ours.status)
    for name in HEADERS:
        one, other = header(kafka, name), header(ours, name)
        if one != other:
            note(f"header {name}", one, other)
    one, other = body(kafka), body(ours)
    compare("$", one, other, note)
    return found


def header(answer, name):
    text = answer.headers.get(name)
    if text is None:
        return ABSENT
    if name == "Allow":
        return ",".join(sorted(method.strip() for method in text.split(",")))
    return ADDRESS.sub("HOST:PORT", text.replace("; ", ";")).lower() if name == "Content-Type" else ADDRESS.sub("HOST:PORT", text)


def body(answer):
    """The body as JSON, or as text if it is none."""
    if not answer.body:
        return ABSENT
    try:
        return json.loads(answer.body)
    except ValueError:
        return "text: " + answer.body.decode(errors="replace")


def compare(place, kafka, ours, note):
    if type(kafka) is not type(ours) and not (is_number(kafka) and is_number(ours)):
        note(place, kafka, ours)
    elif isinstance(kafka, dict):
        for key in [*kafka, *(key for key in ours if key not in kafka)]:
            one, other = kafka.get(key, ABSENT), ours.get(key, ABSENT)
            if key in OWN_VALUES and type(one) is type(other) and ABSENT not in (one, other):
                continue
            compare(f"{place}.{key}", one, other, note)
    elif isinstance(kafka, list):
        compare_lists(place, kafka, ours, note)
    elif isinstance(kafka, str):
        if ADDRESS.sub("HOST:PORT", kafka) != ADDRESS.sub("HOST:PORT", ours):
            note(place, kafka, ours)
    elif kafka != ours:
        note(place, kafka, ours)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def compare_lists(place, kafka, ours, note):
    """By what names the entries where something does, so that one entry more is one difference."""
    ones, others = named(kafka), named(ours)
    if ones is None or others is None:
        if len(kafka) != len(ours):
            note(place, kafka, ours)
            return
        for index, (one, other) in enumerate(zip(kafka, ours)):
            compare(f"{place}[{index}]", one, other, note)
        return
    for name in [*ones, *(name for name in others if name not in ones)]:
        one, other = ones.get(name, ABSENT), others.get(name, ABSENT)
        if ABSENT in (one, other) and isinstance(one if other == ABSENT else other, dict):
            # The whole entry would be long, and its name says it.
            one, other = (name, ABSENT) if other == ABSENT else (ABSENT, name)
        compare(f"{place}[{name}]", one, other, note)
    in_both = [name for name in ones if name in others]
    order = [name for name in others if name in ones]
    if in_both != order:
        note(f"{place} order", in_both, order)


def named(entries):
    names = [name_of(entry) for entry in entries]
    if None in names or len(set(names)) != len(names):
        return None
    return dict(zip(names, entries))


def name_of(entry):
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict):
        return None
    if "class" in entry:
        return f"{entry['class']} {entry.get('type')}"
    if isinstance(entry.get("value"), dict):
        return entry["value"].get("name")
    if "partition" in entry:
        return json.dumps(entry["partition"], sort_keys=True)
    for key in ("name", "id", "task"):
        if isinstance(entry.get(key), (str, int)):
            return str(entry[key])
        if isinstance(entry.get(key), dict):
            return json.dumps(entry[key], sort_keys=True)
    return None
