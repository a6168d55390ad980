"""The TOML of tests without what no test is about: a subject, its activity, a profile, a site. ``more`` goes on in the
table.
"""

SCHEMA = "schema = 1\n"
GENERAL = "ndrc-24-2015"
"""The guideline for what has none of its own."""


def subject_file(*subjects: str) -> str:
    """The file of these subjects."""
    return SCHEMA + "".join(subjects)


def subject(
    name: str,
    more: str = "",
    *,
    zh: str = "示例",
    en: str = "Example",
    kind: str = "enterprise",
    category: str = "industry",
    method: str = GENERAL,
    site: str = "",
) -> str:
    """A subject of a subject file."""
    own = "".join(f'{key} = "{value}"\n' for key, value in (("method", method), ("site", site)) if value)
    head = f'[[subject]]\nid = "{name}"\nzh = "{zh}"\nen = "{en}"\nkind = "{kind}"\ncategory = "{category}"\n'
    return head + own + more


def meter(device: str, more: str = "", point: str = "energy_import") -> str:
    """A main meter of purchased electricity, of the subject before it."""
    return f'[[subject.meter]]\ndevice = "{device}"\npoint = "{point}"\nrow = "24-08"\nsymbol = "AD"\n{more}'


def activity_file(subject: str, *entries: str) -> str:
    """The file of what a subject declares."""
    return f'{SCHEMA}subject = "{subject}"\n' + "".join(entries)


def entry(row: str, start: str, end: str, more: str = "") -> str:
    """A source of an activity file over these days, half open."""
    return f'[[activity]]\nrow = "{row}"\nfrom = {start}\nuntil = {end}\n{more}\n'


def fuel(item: str, amount: str, start: str, end: str, more: str = "") -> str:
    """A fuel by its bill."""
    return entry("24-01", start, end, f'item = "{item}"\nFC = {{ value = "{amount}", document = "bill 7" }}\n{more}')


def coal(amount: str, start: str, end: str) -> str:
    """Anthracite that was weighed and sampled: 24.5 GJ/t, 0.0275 tC/GJ, 98 % oxidised."""
    measured = "".join(
        f'{symbol} = {{ value = "{value}", document = "{document}", uncertainty = "{uncertainty}" }}\n'
        for symbol, value, document, uncertainty in (
            ("FC", amount, "weighbridge", 2),
            ("NCV", "24.5 GJ/t", "lab", 1),
            ("CC", "0.0275 tC/GJ", "lab", 2),
            ("OF", "0.98", "lab", 1),
        )
    )
    return entry("24-01", start, end, f'item = "anthracite"\ndocument = "weighbridge"\n{measured}')


def profile(
    name: str, points: str, *, medium: str = "electricity", period: str = "10s", proof: tuple[str, str] = ("00", "00")
) -> str:
    """A profile of a Modbus meter; ``proof``: a request and its response."""
    head = f'id = "{name}"\ntitle = {{ zh = "x", en = "x" }}\nprotocol = "modbus"\nmedium = "{medium}"\n'
    head += f'period = "{period}"\nsource = {{ doc = "made for tests", verified = "simulator" }}\nproducts = []\n'
    asked, answered = proof
    return f'{SCHEMA}{head}{points}[[proof]]\nrequest = "{asked}"\nresponse = "{answered}"\nexpect = {{}}\n'


def site(devices: str, name: str = "plant-7", title: str = "Plant 7") -> str:
    """A site with one port, ``bus-1``."""
    port = '[[port]]\nname = "bus-1"\ndevice = "/dev/ttyUSB0"\n'
    return f'{SCHEMA}[site]\nid = "{name}"\nname = "{title}"\n{port}{devices}'


def device(name: str, model: str, more: str = "", address: int = 1) -> str:
    """A device on ``bus-1``."""
    return f'[[device]]\nid = "{name}"\nprofile = "{model}"\nport = "bus-1"\naddress = "{address}"\n{more}'


def works(meters: str) -> str:
    """The subject file of the works whose meters the shared rig has; ``meters``: of a TOML array."""
    more = f"meter = [{meters}]\n"
    return subject_file(subject("WORKS", more, zh="示例机械厂", en="Example works", site="S-DEMO"))


def energy(device: str) -> str:
    """A main meter of purchased electricity, as an array has it."""
    return f'{{ device = "{device}", point = "energy_import", row = "24-08", symbol = "AD" }}'
